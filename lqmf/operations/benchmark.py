"""benchmark: how fast an artifact is, and how its answers compare with its source's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.errors import UsageError
from lqmf.operations.result import Result
from lqmf.quality.address import is_address
from lqmf.records import Decision
from lqmf.settings import secret

if TYPE_CHECKING:
    from lqmf.agents.benchmark_agent import Wish
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Benchmarked(Result):
    """The benchmark's file (see `lqmf.agents.benchmark_agent`), with its "path"."""

    file: Mapping[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "done"}`, and everything that the file holds."""
        return {"status": "done", **self.file}


async def run(app: App, request: Decision, ask: Ask) -> Benchmarked:
    """Benchmark what is named; what is wrong with prompts and tasks is said before anything runs. Raises LqmfError."""
    name, wish = request.slots.get("name"), _wish(app, request)
    if is_address(name):
        key = secret(app.settings, "local_api_key")
        return Benchmarked(await app.pipeline.benchmark_address(str(name), request.slots.get("served"), key, wish))
    return Benchmarked(await app.pipeline.benchmark(app.pipeline.find(name), wish))


def _wish(app: App, request: Decision) -> Wish:
    from lqmf.agents.benchmark_agent import PARALLEL, Wish
    from lqmf.quality.benchmark import harness
    from lqmf.quality.benchmark.prompts import BUILT_IN, read

    slots = request.slots
    prompts = Path(slots["prompts"]) if slots.get("prompts") else BUILT_IN
    read(prompts)
    tasks: tuple[str, ...] = ()
    if slots.get("tasks"):
        harness.require()
        tasks = tuple(harness.names(str(slots["tasks"])))
    depth = "comprehensive" if slots.get("test") == "comprehensive" else "quick"
    parallel = int(slots.get("parallel") or PARALLEL)
    return Wish(depth, parallel, prompts, tasks, _embedding(app), str(slots.get("device") or "auto"))


def _embedding(app: App) -> Path | None:
    named = app.settings.values.embedding_model
    if not named:
        return None
    path = app.root / Path(named).expanduser()
    if not path.exists():
        remedy = "`lqmf config set embedding_model FILE.gguf`, or set it to nothing."
        raise UsageError(f"There is no embedding model at {path}.", remedy)
    return path
