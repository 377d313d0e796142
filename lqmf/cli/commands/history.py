"""`lqmf history`: the last turns and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "history",
    "what was said and done, in order",
    intents=("history",),
    examples=("lqmf history", "lqmf history --limit 10 --json"),
    order=90,
    panel="Records",
)
LIMIT = 20


def cli(
    limit: Annotated[int, typer.Option("--limit", min=1, max=options.MOST_ROWS, help="At most so many.")] = LIMIT,
) -> Decision:
    """Show the last turns of the chat and the last jobs, the newest at the end."""
    return options.typed("history", limit=limit)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """What the MemoryAgent has."""
    from lqmf.cli.views.records import history_view

    entries = app.memory.history(decision.slots.get("limit") or LIMIT)
    return Outcome({"history": entries}, history_view(entries))
