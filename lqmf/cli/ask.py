"""Who answers questions: a person at a terminal, the lines of a replay, the recommended answers, or nobody.

Knows how to put a question and read its answer; knows nothing of what the answer is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from lqmf.errors import NeedsInput
from lqmf.records import Question

if TYPE_CHECKING:
    from lqmf.cli.command import Ask
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
        raise NeedsInput([question])


class Recommended:
    """`--yes`: a plan's questions take their recommended answer; all others go to `other`."""

    interactive = False

    def __init__(self, other: Ask) -> None:
        self._other = other

    def show(self, view: Any) -> None:
        """Show something in passing."""
        self._other.show(view)

    async def __call__(self, question: Question) -> Reply:
        """The recommended answer, where the question is one of a plan's and has one."""
        from lqmf.understanding.answers import Reply

        if question.kind == "plan" and question.default is not None:
            return Reply("value", question.default)
        return await self._other(question)


def never_asking(other: Ask) -> Ask:
    """For commands that never ask: recommended answers, and NeedsInput where there is none."""
    return Recommended(_Silent(other))


class _Silent:
    interactive = False

    def __init__(self, other: Ask) -> None:
        self.show = other.show

    async def __call__(self, question: Question) -> Reply:
        raise NeedsInput([question])


class Feed:
    """Lines with one step back: a line that answered no question is read again as a turn."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._returned: list[str] = []

    def take(self) -> str | None:
        """The next line, or None at the end."""
        return self._returned.pop() if self._returned else next(self._lines, None)

    def give_back(self, line: str) -> None:
        """Let `line` be the next one again."""
        self._returned.append(line)


class Replayed:
    """A question takes the next line only if that line answers it; otherwise its default. The end cancels."""

    interactive = False

    def __init__(self, screen: Screen, feed: Feed) -> None:
        self._screen = screen
        self._feed = feed

    def show(self, view: Any) -> None:
        """Show something in passing."""
        self._screen.show(view)

    async def __call__(self, question: Question) -> Reply:
        """The next line's answer, the default, or a cancel."""
        from lqmf.cli.views.questions import prompt, question_view, reason_view
        from lqmf.understanding.answers import Reply, answer

        self._screen.show(question_view(question))
        while (line := self._next_line()) is not None:
            reply = answer(question, line)
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
    """A person: sees the options numbered and the recommended one marked; may ask why, go back or cancel."""

    interactive = True

    def __init__(self, screen: Screen, read_line: ReadLine) -> None:
        self._screen = screen
        self._read_line = read_line

    def show(self, view: Any) -> None:
        """Show something in passing."""
        self._screen.show(view)

    async def __call__(self, question: Question) -> Reply:
        """What the person chose."""
        from lqmf.cli.views.questions import HINT, prompt, question_view, reason_view
        from lqmf.understanding.answers import Reply, answer

        self._screen.pause_progress()
        self._screen.show(question_view(question))
        while (line := await self._read_line(prompt(question), secret=question.kind == "secret")) is not None:
            reply = answer(question, line)
            if reply.kind == "why":
                self._screen.show(reason_view(question))
            elif reply.kind == "other":
                self._screen.notice(HINT)
            else:
                return reply
        return Reply("cancel", None)
