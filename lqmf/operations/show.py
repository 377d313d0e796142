"""show: all that is known of an artifact, a job or a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.operations import running
from lqmf.operations.result import Result
from lqmf.operations.unfinished import judged, settle
from lqmf.records import Request, readable

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Known(Result):
    """The record of one thing; its "kind" is artifact, job or model."""

    record: Mapping[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        """The record itself."""
        return dict(self.record)


async def run(app: App, request: Request, ask: Ask) -> Known:
    """Return the record of what is named; without a name, of the newest artifact. Raises NotFound, AmbiguousName."""
    name = request.name or request.model or app.shelf.find(None).name
    settle(app)
    record = app.memory.show(name)
    if record["kind"] == "artifact" and record["receipt"] is not None:
        record = {**record, "receipt": readable(record["receipt"])}
    if record["kind"] == "job" and record["status"] != "running":
        record = {**record, "next": judged(app, {**record, "kind": record["job_kind"]}).command or None}
    if record["kind"] == "artifact" and not record.get("deleted_at"):
        record = {**record, "run": running.as_planned(Path(record["path"]), record["name"])}
    return Known(record)
