"""`lqmf cancel`: end the job that runs in another terminal. In its own, Ctrl-C does that."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Annotated, Any

import psutil
import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.errors import NeedsInput
from lqmf.records import Decision, Option, Outcome, Question

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "cancel",
    "end the job that runs in another terminal",
    intents=("cancel",),
    examples=("lqmf cancel", "lqmf cancel --force --json"),
    order=130,
    panel="Housekeeping",
)


def cli(force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False) -> Decision:
    """Cancel what runs in this workspace, as Ctrl-C would where it runs. It is asked first."""
    return options.typed("cancel", force=force or None)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Interrupt the processes that drive running jobs, after a yes: they are another terminal's."""
    jobs = [job for job in app.memory.running_jobs() if job["owner_pid"] != os.getpid()]
    if not jobs:
        return Outcome({"status": "done", "cancelled": []}, "Nothing is running.")
    if not decision.slots.get("force") and not await _agreed(decision, ask, _question(jobs)):
        return Outcome({"status": "cancelled", "cancelled": []}, "It goes on.")
    for pid in {job["owner_pid"] for job in jobs}:
        with contextlib.suppress(ProcessLookupError):  # it ended while the question was open
            os.kill(pid, signal.SIGINT)
    titles = ", ".join(str(job["title"]) for job in jobs)
    return Outcome({"status": "done", "cancelled": [job["id"] for job in jobs]}, f"Cancelled: {titles}.")


async def _agreed(decision: Decision, ask: Ask, question: Question) -> bool:
    """Whether the person agrees. Where nobody can be asked, the command itself is the yes, and a sentence is none."""
    try:
        reply = await ask(question)
    except NeedsInput:
        if decision.reason != options.TYPED:
            raise
        return True
    return reply.kind == "value" and reply.value is True


def _question(jobs: list[dict[str, Any]]) -> Question:
    named = ", ".join(f"{job['title']} ({job['id']}, in {_terminal(job['owner_pid'])})" for job in jobs)
    return Question(
        id="cancel",
        text=f"Cancel what another terminal runs: {named}?",
        options=(Option(True, "yes, cancel it"), Option(False, "no, let it run")),
        default=False,
        reason="It ends as by Ctrl-C there; `lqmf resume` can go on with it.",
        kind="confirm",
    )


def _terminal(pid: int) -> str:
    """The terminal of a process, or its number where it has none."""
    with contextlib.suppress(psutil.Error, AttributeError):
        if name := psutil.Process(pid).terminal():
            return f"terminal {name}, process {pid}"
    return f"process {pid}"
