"""Who answers questions: a person at a terminal, the lines of a replay, or nobody.

Knows how to put a question and read its answer; knows nothing of what the answer is for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from lqmf.operations.asking import needs_input
from lqmf.records import Question

if TYPE_CHECKING:
    from lqmf.cli.render import Screen
    from lqmf.understanding.answers import Reply


class Nobody:
    """Nobody can be asked: every question ends the command with exit 2 and says what was open."""

    interactive = False

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def show(self, view: Any) -> None:
        """Show something in passing."""
        self._screen.show(view)

    async def __call__(self, question: Question) -> Reply:
        """Raises NeedsInput."""
        raise needs_input(question)


def read_answer(question: Question, line: str) -> Reply:
    """What `line` is to `question`; an empty line takes the default."""
    from lqmf.understanding.answers import Reply, answer

    if not line.strip() and question.default is not None and question.kind != "secret":
        return Reply("value", question.default)
    return answer(question, line)


class Feed:
    """Lines with one step back: a line that answered no question is read again as a turn."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._returned: list[str] = []

    def __len__(self) -> int:
        """How many lines were given back and are still to come."""
        return len(self._returned)

    def take(self) -> str | None:
        """The next line, or None at the end."""
        return self._returned.pop() if self._returned else next(self._lines, None)

    def give_back(self, *lines: str) -> None:
        """Let `lines` be the next ones."""
        self._returned += reversed(lines)


Aside = Callable[[str], Awaitable[bool]]  # carries a line out beside the open question; whether it did


class Replayed:
    """A question takes the next line only if that line answers it, or corrects the wish ("5 bits"); otherwise its
    default. The end cancels."""

    interactive = False

    def __init__(self, screen: Screen, feed: Feed) -> None:
        self._screen = screen
        self._feed = feed
        self.aside: Aside | None = None

    def show(self, view: Any) -> None:
        """Show something in passing."""
        self._screen.show(view)

    async def __call__(self, question: Question) -> Reply:
        """The next line's answer, the default, or a cancel."""
        from lqmf.cli.views.questions import prompt, question_view, reason_view
        from lqmf.understanding.answers import Reply, about, changes, is_curious

        self._screen.show(question_view(question))
        while (line := self._next_line()) is not None:
            reply = read_answer(question, line)
            if reply.kind == "other" and changes(question, line):
                self._screen.echo(prompt(question) + line)
                return Reply("other", line)
            if reply.kind == "other" and self.aside and question.kind == "plan" and is_curious(question, line):
                self._screen.echo(prompt(question) + line)
                await self.aside(about(question, line))
                continue
            if reply.kind == "other":
                self._feed.give_back(line)
                return self._default(question)
            self._screen.echo(prompt(question) + ("********" if question.kind == "secret" else line))
            if reply.kind != "why":
                return reply
            self._screen.show(reason_view(question))
        self._screen.echo(prompt(question))
        self._screen.notice("The input ended here: cancelled.")
        return Reply("cancel", None)

    def _next_line(self) -> str | None:
        line = self._feed.take()
        while line is not None and line.lstrip().startswith("#"):
            line = self._feed.take()
        return line

    def _default(self, question: Question) -> Reply:
        from lqmf.cli.views.questions import default_label, prompt
        from lqmf.understanding.answers import Reply

        if question.default is None:
            self._screen.echo(prompt(question))
            self._screen.notice("The next line is no answer, and there is no recommended one: cancelled.")
            return Reply("cancel", None)
        self._screen.echo(prompt(question) + default_label(question))
        self._screen.notice("The next line is no answer: the default was taken.")
        return Reply("value", question.default)


class ReadLine(Protocol):
    """Reads one line at a terminal; None when the user left the question with Ctrl-C or Ctrl-D."""

    async def __call__(self, prompt: str, *, secret: bool) -> str | None: ...


class Terminal:
    """A person: sees the options numbered and the recommended one marked; may ask why, go back or cancel.

    What is no answer to a plan's question may still be a correction ("no, 8 bits"): that is for the caller to find
    out. Asked the same again, the person is told what would be an answer.
    """

    interactive = True

    def __init__(self, screen: Screen, read_line: ReadLine, pasted: Feed | None = None) -> None:
        self._screen = screen
        self._read_line = read_line
        self._pasted = Feed(iter(())) if pasted is None else pasted
        self._unanswered: Question | None = None
        self._told_how = False
        self.aside: Aside | None = None

    def show(self, view: Any) -> None:
        """Show something in passing."""
        self._screen.pause_progress()
        self._screen.show(view)

    async def __call__(self, question: Question) -> Reply:
        """What the person chose."""
        from lqmf.cli.views.questions import hint_view, how_view, prompt, question_view, reason_view
        from lqmf.understanding.answers import Reply, about

        self.show(hint_view() if question == self._unanswered else question_view(question))
        if question.options and not self._told_how:
            self.show(how_view(question))
            self._told_how = True
        self._unanswered = None
        while (line := await self._next_line(question, prompt(question))) is not None:
            reply = read_answer(question, line)
            if reply.kind == "why":
                self.show(reason_view(question))
            elif reply.kind != "other":
                return reply
            elif self.aside and question.kind != "secret" and await self.aside(about(question, line)):
                self.show(question_view(question))
            elif question.kind == "plan" and line.strip():
                self._unanswered = question
                return Reply("other", line)
            else:
                self.show(hint_view())
        return Reply("cancel", None)

    async def _next_line(self, question: Question, prompt: str) -> str | None:
        """The next of several lines pasted at once, where it is an answer; otherwise what the person types."""
        line = self._pasted.take()
        if line is not None and read_answer(question, line).kind != "other":
            self._screen.echo(prompt + line)
            return line
        if line is not None:
            self._pasted.give_back(line)
        return await self._read_line(prompt, secret=question.kind == "secret")
