"""`lqmf show`: all that is known of an artifact, a job or a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.show import Known

COMMAND = Command(
    "show",
    "all that is known of an artifact, a job or a model",
    intents=("show",),
    examples=("lqmf show demo_gguf_4bit_Q4_K_M", "lqmf show org/name", "lqmf show Q4_K_M --json"),
    order=70,
    panel="Records",
)


def cli(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="An artifact, a job or a model; the newest artifact if left out.",
            autocompletion=options.artifact_names,
        ),
    ] = None,
) -> Decision:
    """Show what is recorded of an artifact, a job or a model; a part of the name will do where it is the only one."""
    return options.typed("show", name=name)


def view(found: Known) -> RenderableType:
    """The record of one thing."""
    from lqmf.cli.views.records import show_view

    return show_view(found.record)
