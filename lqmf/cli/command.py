"""What a command file exports, and whom it may ask. Knows no command, no terminal and no library.

A command file holds `COMMAND`, `cli` (a typer function, or a typer app for a group, that turns flags into a
Decision and does nothing else) and `act` (which carries the Decision out). A sentence and a typed command meet
in `act`, so both do the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.records import Decision, Outcome, Question
    from lqmf.understanding.answers import Reply


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


class Ask(Protocol):
    """The person at the other end, whoever that is: a terminal, a replayed file, or nobody."""

    @property
    def interactive(self) -> bool:
        """Whether somebody sits at a terminal and can pick from a list that nobody asked for."""
        ...

    def show(self, view: Any) -> None:
        """Show something in passing, before the answer: a plan, a notice."""
        ...

    async def __call__(self, question: Question) -> Reply:
        """The answer. Raises NeedsInput where nobody can be asked."""
        ...


Act = Callable[["App", "Decision", "Ask"], Awaitable["Outcome"]]
