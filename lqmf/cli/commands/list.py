"""`lqmf list`: what was made, and what came to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.list import Listed

COMMAND = Command(
    "list",
    "what was made, and what failed",
    intents=("list",),
    examples=("lqmf list", "lqmf list --status failed", "lqmf list --method gguf --limit 5 --json"),
    order=60,
    panel="Records",
)


def cli(
    status: Annotated[Literal["ok", "failed"] | None, typer.Option("--status", help="Only these.")] = None,
    method: options.Method = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="TEXT", help="Only models with this in their id.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, max=options.MOST_ROWS, help="At most so many.")] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted artifacts too.")] = False,
) -> Decision:
    """List artifacts, and jobs that failed or were cancelled, the newest first."""
    return options.typed("list", status=status, method=method, model=model, limit=limit, deleted=deleted or None)


def view(found: Listed) -> RenderableType:
    """A line for each job at work, and for each record."""
    from rich.console import Group

    from lqmf.cli.views.records import list_view, running_view

    return Group(*map(running_view, found.running), list_view(found.records, found.status))
