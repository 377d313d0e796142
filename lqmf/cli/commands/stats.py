"""`lqmf stats`: success rates, times, space saved, methods compared; with --predictions, how far off estimates were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "stats",
    "success rates, times, space saved, methods compared",
    intents=("stats",),
    examples=("lqmf stats", "lqmf stats --predictions", "lqmf stats --json"),
    order=80,
    panel="Records",
)


def cli(
    predictions: Annotated[
        bool, typer.Option("--predictions", help="What was predicted against what was measured, and what that taught.")
    ] = False,
) -> Decision:
    """Sum up everything that was done in this workspace."""
    return options.typed("stats", predictions=predictions or None)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """What the MemoryAgent makes of all its records, or what its predictions came to."""
    from lqmf.cli.views.statistics import predictions_view, stats_view

    if decision.slots.get("predictions"):
        from lqmf.fit import corrections

        learnt = [each.to_json() for each in corrections.fit(app.memory.predictions()).by_key.values()]
        return Outcome({"predictions": learnt}, predictions_view(learnt))
    stats = app.memory.stats()
    return Outcome(stats, stats_view(stats))
