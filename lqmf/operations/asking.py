"""Whom an operation may ask where nobody is to be asked: recommended answers, or an error that names the question."""

from __future__ import annotations

from typing import Any

from lqmf.errors import NeedsInput
from lqmf.records import Question
from lqmf.understanding.answers import Ask, Reply

REMEDIES = {
    "confirm": "Add --force, or type the command at a terminal. --yes is no answer to this.",
    "secret": "Type the command at a terminal; what is secret is never read from a pipe.",
}


class Recommended:
    """`--yes`: a plan's questions take their recommended answer; all others go to `other`."""

    interactive = False

    def __init__(self, other: Ask) -> None:
        self._other = other

    def show(self, record: Any) -> None:
        """Show something in passing."""
        self._other.show(record)

    async def __call__(self, question: Question) -> Reply:
        """Return the recommended answer, where the question is one of a plan's and has one."""
        if question.kind == "plan" and question.default is not None:
            return Reply("value", question.default)
        return await self._other(question)


class Silent:
    """Nobody to ask: every question raises NeedsInput. What is shown in passing goes to `other`, if there is one."""

    interactive = False

    def __init__(self, other: Ask | None = None) -> None:
        self._other = other

    def show(self, record: Any) -> None:
        """Show something in passing, where somebody looks."""
        if self._other is not None:
            self._other.show(record)

    async def __call__(self, question: Question) -> Reply:
        """Raises NeedsInput."""
        raise needs_input(question)


def never_asking(other: Ask | None = None) -> Ask:
    """Return an Ask for operations that never ask: recommended answers, and NeedsInput where there is none."""
    return Recommended(Silent(other))


def needs_input(question: Question) -> NeedsInput:
    """Return the error for a question that nobody can be asked, with what would have answered it."""
    error = NeedsInput([question])
    if question.kind != "plan":
        error.remedy = REMEDIES[question.kind]
    return error
