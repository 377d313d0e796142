"""The BenchmarkAgent: how fast an artifact is, how its answers compare with its source's, and artifacts side by side.

Lets worker processes time and ask the artifact, makes one document of their reports, and hands comparisons to
`lqmf.quality.compare.comparison`. Knows nothing of engines, or of where results are kept.

A benchmark's file under `benchmarks/` is {"format_version", "kind": "benchmark", "measured_at" (ISO 8601, UTC),
"artifact": {the artifact's fields without its receipt}, "benchmark": {..}}, and its `benchmark` is

    {"depth": "quick"/"comprehensive", "parallel": chats at once, "measured_on": {"cpu", "gpu", "engine"},
     "load_seconds": {"median", "runs"},
     "memory_bytes": {"loaded", "one", "parallel", "gpu"}: peaks when loaded, after one chat, after several,
     "energy_joules_per_token": {"cpu", "gpu"}: of the whole machine while the prompts were answered,
     "speed": [{"parallel", "context_tokens", "prompt": {"tokens", "per_second", "runs"}, "generation": .., "reason"}],
     "prompts": {"name", "sha256", "asked"}, "source": {"engine"} or null,
     "answers": [{"id", "category", "prompt", "response", "tokens", "ended", "seconds", "reason", "source",
                  "perplexity", "repetition", "scores"}],
     "categories": {category: {"answers", "ended", "repetition", and each of `lqmf.quality.benchmark.scores.SCORES`}},
     "overall": {the same}, "tasks": {task: {"documents", "shots", "metrics"}} or null, "harness": {"version", "limit"},
     "reasons": {field: why it is null}}

The scores are described in `lqmf.quality.benchmark.scores`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lqmf.errors import JobCancelled, JobError, MeasurementError, ModelError, NotFound, ResourceError
from lqmf.events import Notice
from lqmf.hardware import detect
from lqmf.jobs.runner import JobContext
from lqmf.quality.address import NO_SOURCE
from lqmf.quality.address import artifact as artifact_of
from lqmf.quality.benchmark import scores
from lqmf.quality.benchmark.prompts import BUILT_IN
from lqmf.quality.compare import comparison
from lqmf.quality.result_file import result
from lqmf.records import Artifact, Hardware, Task

if TYPE_CHECKING:
    from lqmf.jobs.runner import RunTask

TASK_LIMIT = {"quick": 100, "comprehensive": None}  # documents of each named task
PARALLEL = 4  # chats at once, where nobody says


@dataclasses.dataclass(frozen=True)
class BenchmarkRequest:
    """The wishes for a benchmark: `prompts` None asks the built-in ones; `tasks` are lm-evaluation-harness's;
    `embedding` is a GGUF embedding model."""

    depth: str = "quick"
    parallel: int = PARALLEL
    prompts: Path | None = None
    tasks: tuple[str, ...] = ()
    embedding: Path | None = None
    device: str = "auto"


class BenchmarkAgent:
    """`run_task` carries out a worker's task (a runner's `run`); `hardware` says where (None: this machine)."""

    def __init__(self, run_task: RunTask, *, hardware: Callable[[], Hardware] | None = None) -> None:
        self._run = run_task
        self._hardware = hardware or detect

    async def benchmark(
        self,
        artifact: Artifact,
        request: BenchmarkRequest,
        context: JobContext,
        *,
        source: Path | None,
        source_reason: str | None,
    ) -> dict[str, Any]:
        """Return the `benchmark` part of the file; `source` is the 16-bit model that the artifact was made from (None:
        `source_reason` says why there is none). Named tasks run first, so that what they lack is told at once.

        Raises LqmfError for an artifact that cannot be run, and for tasks that cannot; a source that cannot be asked
        leaves nulls with the reason.
        """
        tasks = await self._tasks(artifact, request, context) if request.tasks else _no_tasks()
        timed = await self._run(self._timing(artifact, request, context), context.emit)
        compared = await self._agreement(timed["answers"], request, context, source, source_reason)
        return self._document(request, timed, compared, tasks)

    async def benchmark_address(
        self, address: str, model: str | None, key: str | None, request: BenchmarkRequest, context: JobContext
    ) -> tuple[Artifact, dict[str, Any]]:
        """Return the record that names a model behind an OpenAI-compatible address, and its benchmark; figures that an
        address does not show are null. Raises LqmfError where it cannot be asked."""
        params = {"address": address, "model": model, "key": key, **_how(request), "parallel": request.parallel}
        timed = await self._run(Task(context.job, "address", params, context.log), context.emit)
        document = self._document(request, {**timed, "device": ""}, _unasked(NO_SOURCE), _no_tasks())
        where = {"cpu": None, "gpu": None, "engine": timed["engine"]}
        return artifact_of(address, timed["model"]), {**document, "measured_on": where}

    def _timing(self, artifact: Artifact, request: BenchmarkRequest, context: JobContext) -> Task:
        params = {"artifact": artifact.path, **_how(request), "parallel": request.parallel}
        return Task(context.job, "benchmark", params, context.log)

    async def _tasks(self, artifact: Artifact, request: BenchmarkRequest, context: JobContext) -> dict[str, Any]:
        limit = TASK_LIMIT[request.depth]
        params = {"artifact": artifact.path, "tasks": list(request.tasks), "limit": limit, "device": request.device}
        ran = await self._run(Task(context.job, "harness", params, context.log), context.emit)
        return {"tasks": ran["tasks"], "harness": {"version": ran["version"], "limit": ran["limit"]}, "reasons": {}}

    async def _agreement(
        self,
        said: Sequence[Mapping[str, Any]],
        request: BenchmarkRequest,
        context: JobContext,
        source: Path | None,
        reason: str | None,
    ) -> dict[str, Any]:
        """Return what the source's own answers say of the artifact's, or the reasons why nothing can be said."""
        if source is None:
            return _unasked(reason or "there is no source to compare with")
        embedding = str(request.embedding) if request.embedding else None
        kept = ("id", "prompt_tokens", "response", "tokens", "ended")
        rows = [{name: row[name] for name in kept} for row in said]
        params = {"source": str(source), **_how(request), "answers": rows, "embedding": embedding}
        try:
            return {**await self._run(Task(context.job, "agreement", params, context.log), context.emit), "reasons": {}}
        except (ModelError, JobError, NotFound, ResourceError, MeasurementError) as error:
            if isinstance(error, JobCancelled):
                raise
            context.emit(Notice(text=f"The source could not be asked: {error}", level="warning"))
            return _unasked(error.message)

    def _document(
        self, request: BenchmarkRequest, timed: Mapping[str, Any], compared: Mapping[str, Any], tasks: Mapping[str, Any]
    ) -> dict[str, Any]:
        hardware = self._hardware()
        on_gpu = timed["device"] == "gpu" and hardware.gpus
        rows = list(_rows(timed["answers"], compared["answers"]))
        categories = dict.fromkeys(row["category"] for row in rows)
        measured = ("load_seconds", "memory_bytes", "energy_joules_per_token", "speed")
        return {
            "depth": request.depth,
            "parallel": request.parallel,
            "measured_on": {
                "cpu": hardware.cpu,
                "gpu": hardware.gpus[0].name if on_gpu else None,
                "engine": timed["engine"],
            },
            **{name: timed[name] for name in measured},
            "prompts": {**timed["prompts"], "asked": len(rows)},
            "source": {"engine": compared["engine"]} if compared["engine"] else None,
            "answers": rows,
            "categories": {name: _summed(row for row in rows if row["category"] == name) for name in categories},
            "overall": _summed(rows),
            "tasks": tasks["tasks"],
            "harness": tasks["harness"],
            "reasons": {
                **({} if on_gpu else {"measured_on.gpu": "it ran on the CPU"}),
                **timed["reasons"],
                **_no_embedding(request),
                **compared["reasons"],
                **tasks["reasons"],
            },
        }

    @staticmethod
    def file(artifact: Artifact, benchmark: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document of a benchmark's file; its form is in the module's docstring."""
        return result("benchmark", artifact, benchmark=dict(benchmark))

    @staticmethod
    def compare(artifacts: Sequence[Artifact], made: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
        """Compare artifacts side by side by their benchmarks, the newest first; see `comparison.compare`. Benchmarks
        that were made alike are taken where there are some."""
        return comparison.compare(artifacts, comparison.alike(made))


def _how(request: BenchmarkRequest) -> dict[str, Any]:
    """Return the parameters that both workers must share, for the same prompts to be asked."""
    return {"depth": request.depth, "prompts": str(request.prompts or BUILT_IN), "device": request.device}


def _no_tasks() -> dict[str, Any]:
    return {"tasks": None, "harness": None, "reasons": {"tasks": "none was named: --tasks hellaswag,arc_easy"}}


def _no_embedding(request: BenchmarkRequest) -> dict[str, str]:
    reason = "no embedding model is set: `lqmf config set embedding_model FILE.gguf`"
    return {} if request.embedding else {"overall.embedding_cosine": reason}


def _unasked(reason: str) -> dict[str, Any]:
    return {"engine": None, "answers": [], "reasons": {"source": reason, "overall": reason}}


# ---------------------------------------------------------------- answers


def _rows(said: Iterable[Mapping[str, Any]], beside: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield each answer of the artifact with the source's judgement of it; tokens as their number, which for an address
    is the server's own count."""
    known = {row["id"]: row for row in beside}
    for row in said:
        other = known.get(row["id"]) or {}
        kept = {key: value for key, value in row.items() if key not in ("prompt_tokens", "tokens", "token_count")}
        count = None if row["tokens"] is None else len(row["tokens"])
        yield {
            **kept,
            "tokens": row.get("token_count", count),
            "repetition": None if row["tokens"] is None else scores.repetition(row["tokens"]),
            **{name: other.get(name) for name in ("source", "perplexity", "scores")},
            "reason": row["reason"] or other.get("reason"),
        }


def _summed(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return means over the answers that were given, and mean scores of those that the source was asked about."""
    given = [row for row in rows if row["response"] is not None]
    scored = [row["scores"] for row in given if row["scores"]]
    return {
        "answers": len(given),
        "ended": fmean(row["ended"] for row in given) if given else None,
        "repetition": fmean(row["repetition"] for row in given) if given else None,
        **scores.mean_scores(scored),
    }
