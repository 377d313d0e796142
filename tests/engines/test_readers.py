"""Both readers make of a text what transformers makes of it, frame it as the tokenizer does, and refuse what they are
not for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lqmf.engines.reader import Reader, open_reader
from lqmf.errors import IncompleteModel, UnsupportedModel, UsageError
from lqmf.model_files.model_kind import kind_at
from lqmf.quality.receipt import divergence
from tests.architectures import families
from tests.fixtures_gguf import DEMO, demo_gguf
from tests.quantization.bases import make_base

TEXT = "A list is a mutable sequence."
NATURES = {"bert": "encoder", "codebert": "encoder", "t5": "encoder-decoder"}


@pytest.fixture(scope="module", params=list(NATURES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reader, Reader]]:
    """One model: its own folder, and a 16-bit GGUF of it."""
    folder, work = families.folder(request.param), tmp_path_factory.mktemp("work")
    gguf = make_base(folder, work, lambda _event: None, name=request.param).path
    with open_reader(folder) as source, open_reader(gguf) as converted:
        yield source, converted


@pytest.mark.slow
def test_a_text_is_the_same_tokens_in_the_same_frame_for_both(pair: tuple[Reader, Reader]) -> None:
    source, converted = pair
    assert source.nature == converted.nature
    assert source.vocabulary == converted.vocabulary
    tokens = source.tokenize(TEXT)
    assert source.add_special_tokens(tokens)[-1] == converted.add_special_tokens(tokens)[-1]
    assert len(source.add_special_tokens([])) == {"encoder": 2, "encoder-decoder": 1}[source.nature]


@pytest.mark.slow
def test_both_give_a_text_the_same_states(pair: tuple[Reader, Reader]) -> None:
    """Half floats here, float32 there: what is left is rounding."""
    source, converted = pair
    text = source.add_special_tokens(list(range(10, 70)))
    p, q = source.states(text), converted.states(text)
    assert p.shape == q.shape == (len(text), families.HIDDEN)
    cosine = (p * q).sum(-1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(q, axis=-1)
    assert cosine.min() > 0.9999


@pytest.mark.slow
def test_both_predict_the_same_answer_or_none(pair: tuple[Reader, Reader]) -> None:
    source, converted = pair
    text, target = source.add_special_tokens(list(range(10, 70))), list(range(100, 140))
    if source.nature == "encoder":
        for reader in pair:
            with pytest.raises(UsageError, match="answers nothing"):
                reader.answers(text, target)
        return
    p, q = source.answers(text, target), converted.answers(text, target)
    assert p.shape == q.shape == (len(target), source.vocabulary)
    assert divergence.pair(p, q, np.asarray(target)).kl_nats.mean() < 1e-4
    again = converted.answers(text, target)
    assert np.array_equal(q, again), "what was read before leaves nothing behind"


def test_a_text_that_is_too_long_or_of_other_tokens_is_refused_and_a_closed_reader_says_so() -> None:
    with open_reader(families.folder("codebert")) as reader:
        assert reader.context_length == families.POSITIONS  # two of its places are for padding
        assert len(reader.states([5] * reader.context_length)) == reader.context_length
        for wrong in ([], [5] * (reader.context_length + 1), [reader.vocabulary], [-1]):
            with pytest.raises(UsageError):
                reader.states(wrong)
    with pytest.raises(UsageError, match="closed"):
        reader.states([5])


def test_a_model_that_continues_text_is_for_an_engine() -> None:
    with pytest.raises(UnsupportedModel, match="continues text"):
        open_reader(demo_gguf("F16"))


@pytest.mark.parametrize(("name", "kind"), [*NATURES.items(), ("llama", "decoder"), ("blenderbot", "encoder-decoder")])
def test_the_kind_of_a_model_is_told_by_its_folder(name: str, kind: str) -> None:
    assert kind_at(families.folder(name)) == kind


def test_the_kind_of_a_gguf_is_told_by_its_header(tmp_path: Path) -> None:
    assert kind_at(demo_gguf("F16")) == "decoder"
    assert kind_at(DEMO) == "decoder"
    with pytest.raises(IncompleteModel):
        kind_at(tmp_path)
