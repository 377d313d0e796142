"""What a command file exports, and whom it may ask. Knows no command, no terminal and no library.

A command file holds `COMMAND`, `cli` (a typer function, or a typer app for a group, that turns flags into a
Decision and does nothing else) and `view` (which draws the operation's record). What the command does is its
operation, `run(app, request, ask)` in the file of `lqmf/operations/` with its name: a sentence, a typed command and
`import lqmf` meet there, so all do the same. It may hold `follow(before, record)` too, which draws what a record
changes of an earlier one in the same dialogue, or gives back None. A command that only a terminal has, or that a third
party brings, holds its `run` itself.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """How a command presents itself. `intents` are those of the design that it carries out.

    `examples` are whole lines as typed in a shell; `order` is the place in the help, `panel` its heading there.
    `remembered` is False for what is no work of the user's (help, exit): it leaves no turn in the history. A command
    that needs no App is handed none, and starts faster. Where `names_artifacts`, a line of the chat whose name is no
    artifact's is a sentence ("test quickly"). One that is not `heard` leaves the dialogue as it was.
    """

    name: str
    summary: str
    intents: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    order: int = 100
    panel: str = "Models"
    remembered: bool = True
    needs_app: bool = True
    names_artifacts: bool = False
    heard: bool = True
