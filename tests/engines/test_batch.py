"""Sequences that run together say what each says alone, and what does not fit is refused before it is run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lqmf.engines.batching import Batching
from lqmf.engines.llama.embedding import Embedder
from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.engines.promise import Sampling
from lqmf.engines.transformers.engine import TransformersEngine
from lqmf.errors import UsageError
from tests.fixtures_gguf import DEMO, demo_gguf

STEPS = 10


@pytest.fixture(scope="module", params=["llama.cpp", "transformers"])
def engine(request) -> Iterator[LlamaCppEngine | TransformersEngine]:
    with LlamaCppEngine(demo_gguf("F16")) if request.param == "llama.cpp" else TransformersEngine(DEMO) as opened:
        yield opened


@pytest.fixture(scope="module")
def prompts(engine) -> list[list[int]]:
    """Three texts of the same length; long enough that three together are more than one batch of llama.cpp's."""
    texts = ("The PostgreSQL server is a database. ", "A list in Python can be changed. ", "In the morning it rains. ")
    return [(engine.tokenize(text) * 60)[:300] for text in texts]


def alone(engine, prompt: list[int]) -> list[int]:
    pieces = engine.generate(prompt, Sampling(max_tokens=STEPS))
    return [piece.token for piece in pieces if piece.token is not None]


def together(batch, prompts, *cuts: int) -> list[list[int]]:
    """What each goes on with; the prompts are fed in parts, cut at `cuts`."""
    for start, end in zip((0, *cuts), (*cuts, None), strict=True):
        batch.feed([prompt[start:end] for prompt in prompts])
    steps = [batch.step() for _ in range(STEPS)]
    return [list(column) for column in zip(*steps, strict=True)]


def test_an_engine_that_runs_batches_is_known_by_it(engine):
    assert isinstance(engine, Batching)


def test_each_sequence_goes_on_as_it_does_alone(engine, prompts):
    expected = [alone(engine, prompt) for prompt in prompts]
    assert expected[0] != expected[1]
    with engine.batch(3, 400) as batch:
        assert together(batch, prompts) == expected


def test_a_cleared_batch_has_forgotten_and_parts_read_as_the_whole(engine, prompts):
    with engine.batch(2, 400) as batch:
        first = together(batch, prompts[:2], 100, 101)
        batch.clear()
        assert together(batch, prompts[1:]) != first
        batch.clear()
        assert together(batch, prompts[:2]) == first


def test_what_does_not_fit_is_refused(engine, prompts):
    with engine.batch(2, 20) as batch:
        for wrong in ([[1]], [[1], [1, 2]], [[], []], [[1] * 21, [1] * 21]):
            with pytest.raises(UsageError):
                batch.feed(wrong)
        with pytest.raises(UsageError, match="nothing to continue"):
            batch.step()
        batch.feed([[5] * 20, [6] * 20])
        with pytest.raises(UsageError, match="room for 20"):
            batch.step()


def test_more_sequences_than_llama_cpp_runs_at_once_are_refused_before_it_aborts():
    with LlamaCppEngine(demo_gguf("F16")) as engine, pytest.raises(UsageError, match="at most 256"):
        engine.batch(257, 16)


def test_a_closed_batch_may_be_closed_again(engine):
    batch = engine.batch(1, 16)
    batch.close()
    batch.close()


# ---------------------------------------------------------------- vectors


def test_the_same_text_has_the_same_vector_and_likeness_shows_in_the_cosine():
    """The demo model is no embedding model; the mean of its states still tells code from prose."""
    with Embedder(demo_gguf("Q8_0")) as embedder:
        one, again, like, other = (
            embedder.embed(text)
            for text in (
                "The function returns a list of numbers.",
                "The function returns a list of numbers.",
                "The function returns a list of strings.",
                "= = 0x3f ; ; 81 81 81 | | ; 0x3f",
            )
        )
        assert np.array_equal(one, again)
        assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
        assert one @ again == pytest.approx(1, abs=1e-5)
        assert one @ like > one @ other
        assert not embedder.embed(" ").any()
        assert np.isfinite(embedder.embed("word " * 5000)).all()
    embedder.close()
