"""`lqmf cancel`: end the job that runs in another terminal. In its own, Ctrl-C does that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from lqmf.operations.cancel import Ended

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


def view(found: Ended) -> str:
    """What was cancelled."""
    return f"Cancelled: {', '.join(found.titles)}." if found.titles else "Nothing is running."
