"""`clear`: an empty screen. What was said stays understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.control import Control

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

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


async def act(app: App | None, decision: Decision, ask: Ask) -> Outcome:
    """Empty the screen, where there is one."""
    return Outcome({"status": "done"}, Control.clear() if ask.interactive else None)
