"""compare: artifacts' receipts and benchmarks side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.errors import UsageError
from lqmf.operations.result import Told
from lqmf.records import Request
from lqmf.store.artifacts import known_as

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


class Compared(Told):
    """Artifacts side by side, as `lqmf.quality.compare.comparison` puts them."""


async def run(app: App, request: Request, ask: Ask) -> Compared:
    """Compare what is named; without names, the two newest. Raises UsageError, NotFound, AmbiguousName."""
    names = list(request.names or ([request.name] if request.name else []))
    if not names:
        names = [artifact.name for artifact in app.shelf.artifacts()[:2]]
    if len(names) < 2:
        raise UsageError("Two artifacts are needed to compare.", "`lqmf test list` shows what there is.")
    artifacts = [app.shelf.find(name) for name in names]
    made = [[row["benchmark"] for row in app.memory.benchmarks(known_as(artifact))] for artifact in artifacts]
    return Compared(app.benchmark.compare(artifacts, made))
