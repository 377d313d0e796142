"""list: what was made, and what came to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.operations.result import Result
from lqmf.operations.unfinished import settle, unfinished
from lqmf.records import Request

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Listed(Result):
    """Artifacts and failed jobs, the newest first, each job with the command that goes on with it or does it anew
    ("next"; None where there is nothing to do any more); `status` says which of them were asked for (None: both);
    `running` are the jobs at work."""

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
    settle(app)
    found = app.memory.list_records(request.status, request.method, request.model, request.limit, bool(request.deleted))
    jobs = {job.id: job.command for job in unfinished(app)} if any(one["kind"] == "job" for one in found) else {}
    told = [{**one, "next": jobs.get(one["id"]) or None} if one["kind"] == "job" else one for one in found]
    return Listed(tuple(told), request.status, tuple(app.memory.running_jobs()))
