"""`lqmf show`: all that is known of an artifact, a job or a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

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
        str,
        typer.Argument(metavar="ID", help="An artifact, a job or a model.", autocompletion=options.artifact_names),
    ],
) -> Decision:
    """Show what is recorded of an artifact, a job or a model; a part of the name will do where it is the only one."""
    return options.typed("show", name=name)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """The record of what is named; without a name, of the newest artifact."""
    from lqmf.cli.views.records import show_view

    name = decision.slots.get("name") or decision.slots.get("model") or app.pipeline.find(None).name
    record = app.memory.show(name)
    return Outcome(record, show_view(record))
