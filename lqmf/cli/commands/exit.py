"""`exit`: leave the chat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.operations.result import Result
from lqmf.records import Decision, Request

if TYPE_CHECKING:
    from lqmf.understanding.answers import Ask

COMMAND = Command(
    "exit",
    "leave the chat",
    intents=("exit",),
    examples=("printf 'stats\\nexit\\n' | lqmf",),
    order=330,
    panel="The chat",
    remembered=False,
    needs_app=False,
)


def cli() -> Decision:
    """Leave the chat. Ctrl-D does the same."""
    return options.typed("exit")


@dataclass(frozen=True)
class Left(Result):
    """The end of a dialogue."""

    status: str = "bye"


async def run(app: None, request: Request, ask: Ask) -> Left:
    """Do nothing: whoever reads the lines stops after this one."""
    return Left()


def view(left: Left) -> None:
    """Nothing."""
