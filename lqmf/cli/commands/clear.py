"""`clear`: an empty screen. What was said stays understood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.control import Control

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.operations.result import Result
from lqmf.records import Decision, Request

if TYPE_CHECKING:
    from lqmf.understanding.answers import Ask

COMMAND = Command(
    "clear",
    "an empty screen; nothing is forgotten",
    intents=("clear",),
    examples=("lqmf clear",),
    order=325,
    panel="The chat",
    remembered=False,
    needs_app=False,
)


def cli() -> Decision:
    """Empty the screen."""
    return options.typed("clear")


@dataclass(frozen=True)
class Cleared(Result):
    """An empty screen; `shown` is whether there is one."""

    shown: bool

    @property
    def document(self) -> dict[str, str]:
        """`{"status": "done"}`."""
        return {"status": "done"}


async def run(app: None, request: Request, ask: Ask) -> Cleared:
    """Do nothing but say whether there is a screen to empty."""
    return Cleared(ask.interactive)


def view(cleared: Cleared) -> Control | None:
    """The control code that empties the screen, where there is one."""
    return Control.clear() if cleared.shown else None
