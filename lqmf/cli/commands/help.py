"""`help`: what can be said and typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.errors import UsageError
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "help",
    "what can be said and typed",
    intents=("help",),
    examples=("lqmf help", "lqmf help quantize"),
    order=320,
    panel="The chat",
    remembered=False,
    needs_app=False,
)


def cli(topic: Annotated[str | None, typer.Argument(metavar="COMMAND", help="A command.")] = None) -> Decision:
    """List the commands, or say how one of them is used."""
    return options.typed("help", topic=topic)


async def act(app: App | None, decision: Decision, ask: Ask) -> Outcome:
    """The list of commands, or one command's own help."""
    from lqmf.cli import registry, tree
    from lqmf.cli.views.help import help_view

    topic = decision.slots.get("topic")
    if topic and not registry.exists(topic):
        raise UsageError(f"There is no command '{topic}'.", "`help` lists them.")
    if topic:
        return Outcome({"help": tree.help_text(topic)}, tree.help_text(topic))
    everything = tree.commands()
    return Outcome({"commands": [{"name": c.name, "summary": c.summary} for c in everything]}, help_view(everything))
