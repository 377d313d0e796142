"""benchmark: how fast an artifact is, and how its answers compare with its source's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.artifacts import shelf
from lqmf.errors import UsageError
from lqmf.operations.result import Result
from lqmf.quality.address import is_address
from lqmf.records import Artifact, Request
from lqmf.settings import secret
from lqmf.store.artifacts import known_as

if TYPE_CHECKING:
    from lqmf.agents.benchmark_agent import BenchmarkRequest
    from lqmf.app import App
    from lqmf.jobs.runner import JobContext
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Benchmarked(Result):
    """The benchmark's file (see `lqmf.agents.benchmark_agent`), with its "path"."""

    file: Mapping[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "done"}`, and everything that the file holds."""
        return {"status": "done", **self.file}


async def run(app: App, request: Request, ask: Ask) -> Benchmarked:
    """Benchmark what is named; what is wrong with prompts and tasks is said before anything runs. Raises LqmfError."""
    name, wanted = request.name, _wanted(app, request)
    if is_address(name):
        return Benchmarked(await _benchmark_address(app, str(name), request.served, wanted))
    return Benchmarked(await benchmark(app, app.shelf.find(name), wanted))


async def benchmark(app: App, artifact: Artifact, wanted: BenchmarkRequest) -> dict[str, Any]:
    """Time an artifact and hold its answers against its source's; kept under benchmarks/ and in the store. Return the
    file's document and its "path". Raises LqmfError for what cannot be run."""
    manifest = shelf.manifest_of(artifact)
    with app.pipeline.job("benchmark", known_as(artifact), artifact.name) as (context, _):
        async with app.sources.base(context, artifact, manifest) as base:
            measured = await app.benchmark.benchmark(
                artifact, wanted, context, source=base.path, source_reason=base.reason
            )
        kept = _kept(app, context, artifact, measured)
        app.understanding.note_artifact(artifact.name)
    return kept


async def _benchmark_address(app: App, address: str, model: str | None, wanted: BenchmarkRequest) -> dict[str, Any]:
    """Time a model behind an address and ask it the prompts; kept and returned as a benchmark is. Raises LqmfError
    where it cannot be asked."""
    key = secret(app.settings, "local_api_key")
    with app.pipeline.job("benchmark", address) as (context, result):
        artifact, measured = await app.benchmark.benchmark_address(address, model, key, wanted, context)
        result["artifact"] = artifact.name
        return _kept(app, context, artifact, measured)


def _kept(app: App, context: JobContext, artifact: Artifact, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what was measured, and return its file's document and "path"."""
    document = app.benchmark.file(artifact, measured)
    path = app.pipeline.keep(context.job, artifact, document)
    app.memory.remember_benchmark(known_as(artifact), context.job, path, measured)
    return {**document, "path": str(path)}


def _wanted(app: App, request: Request) -> BenchmarkRequest:
    from lqmf.agents.benchmark_agent import PARALLEL, BenchmarkRequest
    from lqmf.quality.benchmark import harness
    from lqmf.quality.benchmark.prompts import BUILT_IN, read

    prompts = Path(request.prompts) if request.prompts else BUILT_IN
    read(prompts)
    tasks: tuple[str, ...] = ()
    if request.tasks:
        harness.require()
        tasks = tuple(harness.names(str(request.tasks)))
    depth = "comprehensive" if request.test == "comprehensive" else "quick"
    parallel = int(request.parallel or PARALLEL)
    return BenchmarkRequest(depth, parallel, prompts, tasks, _embedding(app), str(request.device or "auto"))


def _embedding(app: App) -> Path | None:
    named = app.settings.values.embedding_model
    if not named:
        return None
    path = app.root / Path(named).expanduser()
    if not path.exists():
        remedy = "`lqmf config set embedding_model FILE.gguf`, or set it to nothing."
        raise UsageError(f"There is no embedding model at {path}.", remedy)
    return path
