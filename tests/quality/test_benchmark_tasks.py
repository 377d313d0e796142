"""What the workers of a benchmark report of the real demo model holds together, and twice is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lqmf.errors import MeasurementError
from lqmf.events import Event, Progress
from lqmf.jobs.tasks import agreement, benchmark
from lqmf.quality.benchmark.prompts import BUILT_IN
from lqmf.quality.benchmark.scores import SCORES
from lqmf.records import Task
from tests.fixtures_gguf import DEMO, demo_gguf
from tests.model_files.gguf_writer import text as gguf_text

PROMPTS = """{"passages": {"p": "%s"}, "prompts": [
 {"id": "a", "category": "facts", "messages": [{"role": "user", "content": "What is a list?"}]},
 {"id": "b", "category": "chat", "messages": [{"role": "user", "content": "the end"}]},
 {"id": "c", "category": "long context", "messages": [{"role": "user", "content": "Sum up."}], "passage": "p"}]}"""


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> Path:
    """Three prompts, one of which fits no context of the demo model."""
    path = tmp_path_factory.mktemp("prompts") / "few.json"
    path.write_text(PROMPTS % ("The book lies on the table. " * 400))
    return path


def ask(prompts: Path, artifact: Path, heard: list[Event] | None = None, **params) -> dict:
    params = {"artifact": str(artifact), "depth": "quick", "parallel": 2, "prompts": str(prompts), **params}
    emit = heard.append if heard is not None else lambda event: None
    found = benchmark.run(Task("j", "benchmark", params, ""), emit)
    return json.loads(json.dumps(found))  # as it crosses to the chat


def beside(prompts: Path, answers: list[dict], source: Path, **params) -> dict:
    params = {"source": str(source), "depth": "quick", "prompts": str(prompts), "answers": answers, **params}
    return agreement.run(Task("j", "agreement", params, ""), lambda event: None)


@pytest.fixture(scope="module")
def heard() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def timed(prompts, heard) -> dict:
    return ask(prompts, demo_gguf("Q4_K_M"), heard)


@pytest.fixture(scope="module")
def compared(prompts, timed) -> dict:
    return beside(prompts, timed["answers"], demo_gguf("F16"))


def test_speed_load_and_memory_are_measured_at_each_point(timed):
    at = {(row["parallel"], row["context_tokens"]): row for row in timed["speed"]}
    assert set(at) == {(1, 0), (1, 512), (2, 0), (2, 512)}
    for point, row in at.items():
        assert row["prompt"]["per_second"] > row["generation"]["per_second"] > 0, point
        assert len(row["generation"]["runs"]) == 3
    memory = timed["memory_bytes"]
    assert 20 << 20 < memory["loaded"] <= memory["one"] <= memory["parallel"]
    assert len(timed["load_seconds"]["runs"]) == 3
    assert min(timed["load_seconds"]["runs"]) <= timed["load_seconds"]["median"] <= max(timed["load_seconds"]["runs"])


def test_what_is_null_has_a_reason(timed):
    groups = ("memory_bytes", "energy_joules_per_token")
    empty = {f"{group}.{name}" for group in groups for name, value in timed[group].items() if value is None}
    assert empty == set(timed["reasons"])


def test_a_prompt_that_does_not_fit_is_left_out_and_says_so(timed, compared):
    by_id = {row["id"]: row for row in timed["answers"]}
    assert by_id["c"]["response"] is None
    assert "the context has 2048" in by_id["c"]["reason"]
    assert [row["id"] for row in compared["answers"]] == ["a", "b"]


def test_progress_ends_at_its_total(timed, heard):
    steps = [(event.done, event.total) for event in heard if isinstance(event, Progress)]
    assert steps[-1] == (7, 7)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_twice_gives_the_same_answers_and_the_same_scores(prompts, timed, compared):
    again = ask(prompts, demo_gguf("Q4_K_M"), parallel=1)
    said = [(row["response"], row["tokens"], row["ended"]) for row in timed["answers"]]
    assert [(row["response"], row["tokens"], row["ended"]) for row in again["answers"]] == said
    assert {row["parallel"] for row in again["speed"]} == {1}
    assert beside(prompts, again["answers"], demo_gguf("F16")) == compared


def test_the_source_against_itself_scores_one_but_for_its_own_repetition(prompts):
    itself = ask(prompts, demo_gguf("F16"), parallel=1)
    for row in beside(prompts, itself["answers"], demo_gguf("F16"))["answers"]:
        assert row["scores"]["rouge1"] == row["scores"]["same_beginning"] == row["scores"]["termination"] == 1
        assert row["scores"]["fluency"] == 1
        assert row["perplexity"]["artifact"] == row["perplexity"]["source"] > 1


def test_an_artifacts_scores_lie_below_its_sources(compared):
    rows = compared["answers"]
    assert all(set(row["scores"]) == set(SCORES) for row in rows)
    assert all(0 <= value <= 1 for row in rows for value in row["scores"].values() if value is not None)
    assert min(row["scores"]["same_beginning"] for row in rows) < 1
    assert all(row["scores"]["embedding_cosine"] is None for row in rows)


def test_a_source_in_safetensors_is_asked_alike(prompts, timed, compared):
    """The demo's own weights, run by transformers in float32: the same prompts, and nearly the same answers."""
    found = beside(prompts, timed["answers"], DEMO)
    assert found["engine"].startswith("transformers")
    for one, other in zip(found["answers"], compared["answers"], strict=True):
        assert one["perplexity"]["artifact"] == pytest.approx(other["perplexity"]["artifact"], rel=0.02)


def test_an_embedding_model_adds_its_cosine(prompts, timed):
    found = beside(prompts, timed["answers"], demo_gguf("F16"), embedding=str(demo_gguf("Q8_0")))
    assert all(-1 <= row["scores"]["embedding_cosine"] <= 1 for row in found["answers"])
    assert all(row["scores"]["embedding_cosine"] is not None for row in found["answers"])


def test_models_that_read_a_prompt_differently_are_not_compared(tmp_path, prompts, timed):
    """Two words of the vocabulary change places: the same prompt becomes other tokens."""
    data = demo_gguf("F16").read_bytes()
    one, two = gguf_text("the"), gguf_text("and")
    assert data.count(one) == data.count(two) == 1
    spare = b"\xff" * len(one)
    other = tmp_path / "other.gguf"
    other.write_bytes(data.replace(one, spare).replace(two, one).replace(spare, two))
    with pytest.raises(MeasurementError, match="different tokens"):
        beside(prompts, timed["answers"], other)


def test_the_built_in_prompts_all_fit_the_demo_model():
    from lqmf.engines.llama.engine import LlamaCppEngine
    from lqmf.quality.benchmark import answering, prompts

    with LlamaCppEngine(demo_gguf("Q4_K_M")) as engine:
        for prompt in prompts.read(BUILT_IN).prompts:
            text, _ = prompts.asked(engine, prompt.messages)
            assert len(answering.prompt_tokens(engine, text)) + 128 <= engine.context_length, prompt.id
