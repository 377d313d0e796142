"""cancel: end the jobs that run in other processes. In its own terminal, Ctrl-C does that."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.operations.result import Result
from lqmf.records import Decision

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Ended(Result):
    """The jobs whose processes were interrupted, by id and by title."""

    jobs: tuple[str, ...]
    titles: tuple[str, ...]

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "done", "cancelled": ids}`."""
        return {"status": "done", "cancelled": list(self.jobs)}


async def run(app: App, request: Decision, ask: Ask) -> Ended:
    """Interrupt the processes that drive running jobs."""
    jobs = [job for job in app.memory.running_jobs() if job["owner_pid"] != os.getpid()]
    for pid in {job["owner_pid"] for job in jobs}:
        os.kill(pid, signal.SIGINT)
    return Ended(tuple(job["id"] for job in jobs), tuple(str(job["title"]) for job in jobs))
