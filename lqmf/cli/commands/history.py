"""`lqmf history`: the last turns and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.operations.history import LIMIT
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.history import Remembered

COMMAND = Command(
    "history",
    "what was said and done, in order",
    intents=("history",),
    examples=("lqmf history", "lqmf history --limit 10 --json"),
    order=90,
    panel="Records",
)


def cli(
    limit: Annotated[int, typer.Option("--limit", min=1, max=options.MOST_ROWS, help="At most so many.")] = LIMIT,
) -> Decision:
    """Show the last turns of the chat and the last jobs, the newest at the end."""
    return options.typed("history", limit=limit)


def view(found: Remembered) -> RenderableType:
    """A line for each turn and job."""
    from lqmf.cli.views.records import history_view

    return history_view(found.history)
