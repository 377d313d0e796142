"""`lqmf cancel`: end the job that runs in another terminal. In its own, Ctrl-C does that."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "cancel",
    "end the job that runs in another terminal",
    intents=("cancel",),
    examples=("lqmf cancel", "lqmf cancel --json"),
    order=130,
    panel="Housekeeping",
)


def cli() -> Decision:
    """Cancel what runs in this workspace, as Ctrl-C would where it runs."""
    return options.typed("cancel")


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Interrupt the processes that drive running jobs."""
    jobs = [job for job in app.memory.running_jobs() if job["owner_pid"] != os.getpid()]
    for pid in {job["owner_pid"] for job in jobs}:
        os.kill(pid, signal.SIGINT)
    titles = [str(job["title"]) for job in jobs]
    view = f"Cancelled: {', '.join(titles)}." if titles else "Nothing is running."
    return Outcome({"status": "done", "cancelled": [job["id"] for job in jobs]}, view)
