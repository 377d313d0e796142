"""`lqmf stats`: success rates, times, space saved, methods compared; with --predictions, how far off estimates were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.stats import Learnt, Statistics

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


def view(found: Statistics | Learnt) -> RenderableType:
    """The sums, or how far off predictions were."""
    from lqmf.cli.views.statistics import predictions_view, stats_view
    from lqmf.operations.stats import Learnt

    return predictions_view(found.predictions) if isinstance(found, Learnt) else stats_view(found.told)
