"""`exit`: leave the chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

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


async def act(app: App | None, decision: Decision, ask: Ask) -> Outcome:
    """Nothing to do: whoever reads the lines stops after this one."""
    return Outcome({"status": "bye"})
