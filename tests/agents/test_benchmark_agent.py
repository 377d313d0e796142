"""A benchmark is one document of what its workers report, kept where comparisons find it; what is missing says why."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from lqmf.agents.benchmark_agent import BenchmarkAgent, BenchmarkRequest
from lqmf.app import App
from lqmf.errors import JobCancelled, OutOfMemory, UsageError
from lqmf.jobs.runner import JobContext, LocalRunner
from lqmf.operations import compare
from lqmf.operations.asking import never_asking
from lqmf.operations.benchmark import benchmark
from lqmf.records import Artifact, Decision, Hardware, Task
from tests.fixtures_gguf import demo_gguf

MACHINE = Hardware("A fast one", 2, 8 << 30, 4 << 30)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "mine.txt"
    path.write_text("What is a list?\nName a database.\n")
    return path


def artifact() -> Artifact:
    path = demo_gguf("Q4_K_M")
    return Artifact("small", str(path), "gguf", 4, "Q4_K_M", path.stat().st_size, 15_000_000, 3.1, "demo")


def context(folder: Path, heard: list | None = None) -> JobContext:
    return JobContext("j", str(folder / "worker.log"), (heard if heard is not None else []).append)


def made(run_task, prompts: Path, folder: Path, heard=None, source: Path | None = None, **wishes) -> dict:
    agent = BenchmarkAgent(run_task, hardware=lambda: MACHINE)
    request = BenchmarkRequest(prompts=prompts, parallel=2, **wishes)
    reason = None if source else "its source is not on this machine"
    return asyncio.run(
        agent.benchmark(artifact(), request, context(folder, heard), source=source, source_reason=reason)
    )


class Remembered:
    """Runs tasks in real workers, once each: what one reported is given again for the same question."""

    def __init__(self, folder: Path) -> None:
        self._known: dict[str, dict] = {}
        self._runner = LocalRunner()
        self._folder = folder

    async def __call__(self, task: Task, emit) -> dict:
        key = json.dumps([task.kind, task.params])
        if key not in self._known:
            self._known[key] = await self._runner.run(task, emit)
        return self._known[key]


@pytest.fixture(scope="module")
def run_task(tmp_path_factory) -> Remembered:
    return Remembered(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def whole(run_task, prompts, tmp_path_factory) -> dict:
    return made(run_task, prompts, tmp_path_factory.mktemp("whole"), source=demo_gguf("F16"))


def test_a_benchmark_holds_speed_memory_answers_and_scores(whole):
    json.dumps(whole, allow_nan=False)
    assert whole["measured_on"] == {"cpu": "A fast one", "gpu": None, "engine": whole["source"]["engine"]}
    assert whole["prompts"]["name"] == "mine"
    assert (whole["prompts"]["asked"], len(whole["answers"])) == (2, 2)
    assert list(whole["categories"]) == ["own"]
    assert whole["categories"]["own"] == whole["overall"]
    assert {(row["parallel"], row["context_tokens"]) for row in whole["speed"]} >= {(1, 0), (2, 0)}


def test_the_overall_score_is_the_mean_of_the_answers(whole):
    each = [row["scores"]["quality"] for row in whole["answers"]]
    assert whole["overall"]["quality"] == pytest.approx(sum(each) / 2)
    assert whole["overall"]["repetition"] == pytest.approx(sum(row["repetition"] for row in whole["answers"]) / 2)
    assert all(isinstance(row["tokens"], int) and "prompt_tokens" not in row for row in whole["answers"])


def test_what_is_null_says_why(whole):
    assert whole["tasks"] is None
    assert whole["overall"]["embedding_cosine"] is None
    assert {"tasks", "overall.embedding_cosine", "measured_on.gpu"} <= set(whole["reasons"])


def test_without_a_source_the_answers_are_kept_and_their_scores_are_null_with_the_reason(
    run_task, prompts, tmp_path, whole
):
    alone = made(run_task, prompts, tmp_path)
    assert [row["response"] for row in alone["answers"]] == [row["response"] for row in whole["answers"]]
    assert alone["source"] is alone["overall"]["quality"] is alone["overall"]["coherence"] is None
    assert alone["overall"]["repetition"] == whole["overall"]["repetition"]
    assert alone["reasons"]["source"] == alone["reasons"]["overall"] == "its source is not on this machine"


def test_a_source_that_finds_no_room_costs_the_scores_and_nothing_else(run_task, prompts, tmp_path, whole):
    async def full(task: Task, emit) -> dict:
        if task.kind == "agreement":
            raise OutOfMemory("There was not enough memory.", "Close other programs.")
        return await run_task(task, emit)

    heard: list = []
    found = made(full, prompts, tmp_path, heard, source=demo_gguf("F16"))
    assert found["reasons"]["source"] == "There was not enough memory."
    assert found["speed"] == whole["speed"]
    assert "could not be asked" in heard[-1].text


def test_a_cancel_is_no_missing_score(run_task, prompts, tmp_path):
    async def cancelled(task: Task, emit) -> dict:
        if task.kind == "agreement":
            raise JobCancelled("Cancelled.", "")
        return await run_task(task, emit)

    with pytest.raises(JobCancelled):
        made(cancelled, prompts, tmp_path, source=demo_gguf("F16"))


def test_named_tasks_are_run_before_anything_is_timed(prompts, tmp_path):
    asked: list[str] = []

    async def refuses(task: Task, emit) -> dict:
        asked.append(task.kind)
        raise UsageError("lm-evaluation-harness has no task 'x'.", "")

    with pytest.raises(UsageError):
        made(refuses, prompts, tmp_path, tasks=("x",))
    assert asked == ["harness"]


def test_a_benchmark_is_kept_in_a_file_and_the_store_and_compare_finds_it(tmp_path, prompts):
    """Two files that somebody dropped into the workspace, each benchmarked by the command's own way."""
    folder = tmp_path / "quantized-models"
    folder.mkdir()
    for type in ("Q4_K_M", "Q8_0"):
        shutil.copy(demo_gguf(type), folder / f"demo-{type}.gguf")
    app = App.create(str(tmp_path), {}, tmp_path, {})
    names = Decision("compare", {"names": ["demo-Q4_K_M", "demo-Q8_0"]}).request
    try:
        for name in ("demo-Q4_K_M", "demo-Q8_0"):
            request = BenchmarkRequest(prompts=prompts, parallel=1)
            kept = asyncio.run(benchmark(app, app.shelf.find(name), request))
            on_disk = json.loads(Path(kept["path"]).read_text())
            assert Path(kept["path"]).parent == tmp_path / "benchmarks"
            assert (on_disk["kind"], on_disk["format_version"]) == ("benchmark", 1)
            assert on_disk["benchmark"] == kept["benchmark"]
            assert "receipt" not in on_disk["artifact"]
            [row] = app.memory.benchmarks(kept["artifact"]["path"])
            assert row["benchmark"] == kept["benchmark"]
            assert row["generation_per_second"] == kept["benchmark"]["speed"][0]["generation"]["per_second"]
            assert app.memory.last_job()["kind"] == "benchmark"
        compared = asyncio.run(compare.run(app, names, never_asking())).document
    finally:
        app.close()
    assert all(column["benchmarked"] for column in compared["artifacts"])
    assert "speed.writing.1.0" in {row["id"] for row in compared["rows"]}
