"""compare: artifacts' receipts and benchmarks side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.errors import UsageError
from lqmf.operations.result import Result
from lqmf.records import Decision

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Compared(Result):
    """Artifacts side by side, as `lqmf.quality.compare.comparison` puts them."""

    comparison: Mapping[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        """The comparison itself."""
        return dict(self.comparison)


async def run(app: App, request: Decision, ask: Ask) -> Compared:
    """Compare what is named; without names, the two newest. Raises UsageError, NotFound, AmbiguousName."""
    slots = request.slots
    names = list(slots.get("names") or ([slots["name"]] if slots.get("name") else []))
    if not names:
        names = [artifact.name for artifact in app.pipeline.artifacts()[:2]]
    if len(names) < 2:
        raise UsageError("Two artifacts are needed to compare.", "`lqmf test list` shows what there is.")
    return Compared(await app.pipeline.compare(names))
