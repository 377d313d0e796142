"""`help`: what can be said and typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.errors import UsageError
from lqmf.operations.result import Result
from lqmf.records import Decision, Request

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.understanding.answers import Ask

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


@dataclass(frozen=True)
class Helped(Result):
    """The help of the command `topic`; or, with none, of all `commands`."""

    commands: tuple[Command, ...]
    topic: str | None = None

    @property
    def document(self) -> dict[str, Any]:
        """`{"help"}`, or `{"commands": [{"name", "summary"}]}`."""
        if self.topic:
            return {"help": _text(self.topic)}
        return {"commands": [{"name": one.name, "summary": one.summary} for one in self.commands]}


async def run(app: None, request: Request, ask: Ask) -> Helped:
    """Find the commands, or the one that is named. Raises UsageError."""
    from lqmf.cli import registry, tree

    topic = request.topic
    if topic and not registry.exists(topic):
        raise UsageError(f"There is no command '{topic}'.", "`help` lists them.")
    return Helped((), topic) if topic else Helped(tuple(tree.commands()))


def view(found: Helped) -> RenderableType | str:
    """The list of commands, or one command's own help."""
    from lqmf.cli.views.help import help_view

    return _text(found.topic) if found.topic else help_view(found.commands)


def _text(topic: str) -> str:
    from lqmf.cli import tree

    return tree.help_text(topic)
