"""Every engine keeps the Engine promise: what it can do it does alike, what it cannot it says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lqmf.engines.http.engine import HttpEngine
from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.engines.promise import Sampling
from lqmf.engines.transformers.engine import TransformersEngine
from lqmf.errors import UsageError
from tests.engines.openai_server import serving
from tests.fixtures_gguf import DEMO, demo_gguf

PROMPT = "The PostgreSQL server"
GREEDY = Sampling(max_tokens=24)


@pytest.fixture(scope="module", params=["llama.cpp", "http", "transformers"])
def engine(request) -> Iterator[LlamaCppEngine | HttpEngine | TransformersEngine]:
    """Each runs the demo model as it is: in F16, or in float32 from its own safetensors."""
    if request.param == "transformers":
        with TransformersEngine(DEMO) as local:
            yield local
        return
    with LlamaCppEngine(demo_gguf("F16")) as local:
        if request.param == "llama.cpp":
            yield local
        else:
            with serving(local) as server, HttpEngine(server.url, "demo") as remote:
                yield remote


@pytest.fixture(scope="module")
def reference() -> str:
    with LlamaCppEngine(demo_gguf("F16")) as local:
        return said(local, PROMPT, GREEDY)


def said(engine, prompt, sampling) -> str:
    return "".join(piece.text for piece in engine.generate(prompt, sampling))


def test_it_has_a_name(engine):
    assert engine.name


def test_greedy_generation_is_the_same_each_time_and_everywhere(engine, reference):
    assert reference
    assert said(engine, PROMPT, GREEDY) == said(engine, PROMPT, GREEDY) == reference


def test_a_seed_repeats_a_draw_and_another_changes_it(engine):
    first, again, other = (
        said(engine, PROMPT, Sampling(max_tokens=24, temperature=1.0, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_it_stops_before_a_stop_string(engine, reference):
    stop = reference[5:8]
    assert said(engine, PROMPT, Sampling(max_tokens=24, stop=(stop,))) == reference[: reference.index(stop)]


def test_fewer_tokens_are_a_beginning_of_more(engine, reference):
    short = said(engine, PROMPT, Sampling(max_tokens=6))
    assert reference.startswith(short)
    assert len(short) < len(reference)


def test_a_stream_that_is_left_early_harms_nothing(engine, reference):
    next(iter(engine.generate(PROMPT, GREEDY)))
    assert said(engine, PROMPT, GREEDY) == reference


def test_it_answers_messages(engine):
    messages = [{"role": "user", "content": "What is a tuple?"}]
    assert "".join(piece.text for piece in engine.chat(messages, GREEDY))


@pytest.mark.parametrize("prompt", ["", []])
def test_an_empty_prompt_is_a_usage_error(engine, prompt):
    with pytest.raises(UsageError, match="no prompt"):
        said(engine, prompt, GREEDY)


def test_tokens_come_back_as_the_text_or_are_refused(engine):
    text = "naïve 🚀 code"
    if engine.vocabulary:
        tokens = engine.tokenize(text)
        assert engine.detokenize(tokens) == text
        assert all(0 <= token < engine.vocabulary for token in tokens)
    else:
        for refused in (
            lambda: engine.tokenize(text),
            lambda: engine.detokenize([1]),
            lambda: engine.render([{"role": "user", "content": "x"}]),
        ):
            with pytest.raises(UsageError, match="only generates"):
                refused()


def test_logits_are_a_row_of_floats_a_position_or_are_refused(engine):
    if engine.vocabulary:
        rows = list(engine.logits([[1, 2, 3], [4, 5]]))
        assert [r.shape for r in rows] == [(3, engine.vocabulary), (2, engine.vocabulary)]
        assert all(r.dtype == np.float32 for r in rows)
    else:
        with pytest.raises(UsageError, match="only generates"):
            list(engine.logits([[1, 2, 3]]))


@pytest.mark.parametrize(("first", "step"), [(0, 1), (5, 4), (11, 100)])
def test_a_window_read_in_pieces_gives_the_same_logits_but_for_rounding(engine, first, step):
    if isinstance(engine, HttpEngine):
        pytest.skip("it gives no logits")
    window = [(37 * n) % engine.vocabulary for n in range(13)]
    (whole,) = engine.logits([window], first=first)
    (pieces,) = engine.logits([window], first=first, step=step)
    assert pieces.shape == whole.shape
    np.testing.assert_allclose(pieces, whole, atol=0.05)


def test_closing_twice_is_closing_once():
    with LlamaCppEngine(demo_gguf("F16")) as local, TransformersEngine(DEMO) as other:
        local.close()
        other.close()
    with HttpEngine("http://localhost:1", "x") as remote:
        remote.close()
