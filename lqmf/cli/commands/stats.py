"""`lqmf stats`: success rates, times, space saved, methods compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "stats",
    "success rates, times, space saved, methods compared",
    intents=("stats",),
    examples=("lqmf stats", "lqmf stats --json"),
    order=80,
    panel="Records",
)


def cli() -> Decision:
    """Sum up everything that was done in this workspace."""
    return options.typed("stats")


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """What the MemoryAgent makes of all its records."""
    from lqmf.cli.views.statistics import stats_view

    stats = app.memory.stats()
    return Outcome(stats, stats_view(stats))
