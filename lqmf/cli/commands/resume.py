"""`lqmf resume`: go on with a job that was interrupted, failed or was cancelled."""

from __future__ import annotations

from typing import Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.cli.commands import quantize
from lqmf.records import Decision

COMMAND = Command(
    "resume",
    "go on with an interrupted job",
    intents=("resume",),
    examples=("lqmf resume", "lqmf resume JOB --json"),
    order=120,
    panel="Housekeeping",
)


def cli(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="A job's id; the latest if left out.")] = None,
) -> Decision:
    """Go on with a job: what was downloaded stays, the rest is done again."""
    return options.typed("resume", job=job)


view = quantize.view
