"""cancel: end the jobs that run in other processes, after a yes. In its own terminal, Ctrl-C does that."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from lqmf.errors import NeedsInput
from lqmf.operations.result import Cancelled, Result
from lqmf.records import Question, Request, yes_or_no
from lqmf.store.jobs import command

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Ended(Result):
    """The jobs whose processes were interrupted, by id and by title."""

    jobs: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "done", "cancelled": ids}`."""
        return {"status": "done", "cancelled": list(self.jobs)}


async def run(app: App, request: Request, ask: Ask) -> Ended | Cancelled:
    """Interrupt the processes that drive running jobs. They are another terminal's, so that it is asked first."""
    jobs = [job for job in app.memory.running_jobs() if job["owner_pid"] != os.getpid()]
    if not jobs:
        return Ended()
    if not request.force and not await _agreed(request, ask, _question(jobs)):
        return Cancelled("It goes on.")
    for pid in {job["owner_pid"] for job in jobs}:
        with contextlib.suppress(ProcessLookupError):  # it ended while the question was open
            os.kill(pid, signal.SIGINT)
    return Ended(tuple(job["id"] for job in jobs), tuple(str(job["title"]) for job in jobs))


async def _agreed(request: Request, ask: Ask, question: Question) -> bool:
    """Return whether the person agrees. Where nobody can be asked, a typed command is the yes, a sentence is not."""
    try:
        reply = await ask(question)
    except NeedsInput:
        if not request.exact:
            raise
        return True
    return reply.kind == "value" and reply.value is True


def _question(jobs: list[dict[str, Any]]) -> Question:
    named = ", ".join(f"{job['title']} ({job['id']}, in {_terminal(job['owner_pid'])})" for job in jobs)
    return yes_or_no(
        "cancel",
        f"Cancel what another terminal runs: {named}?",
        f"It ends as by Ctrl-C there; afterwards: {', '.join(f'`lqmf {command(job)}`' for job in jobs)}.",
        yes="yes, cancel it",
        no="no, let it run",
    )


def _terminal(pid: int) -> str:
    """Return the terminal of a process, or its number where it has none."""
    with contextlib.suppress(psutil.Error, AttributeError):
        if name := psutil.Process(pid).terminal():
            return f"terminal {name}, process {pid}"
    return f"process {pid}"
