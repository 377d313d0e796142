"""list: what was made, and what came to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.operations.result import Result
from lqmf.records import Request

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Listed(Result):
    """Artifacts and failed jobs, the newest first; `status` says which of them were asked for (None: both); `running`
    are the jobs at work."""

    records: tuple[Mapping[str, Any], ...]
    status: str | None = None
    running: tuple[Mapping[str, Any], ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        """`{"records": [..], "running": ids}`."""
        records = [dict(record) for record in self.records]
        return {"records": records, "running": [job["id"] for job in self.running]}


async def run(app: App, request: Request, ask: Ask) -> Listed:
    """List what the MemoryAgent has."""
    found = app.memory.list_records(request.status, request.method, request.model, request.limit, bool(request.deleted))
    return Listed(tuple(found), request.status, tuple(app.memory.running_jobs()))
