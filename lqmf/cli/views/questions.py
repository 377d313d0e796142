"""How a question looks: its text, the options numbered, the recommended one marked. Knows rich; asks nothing."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lqmf.cli.views.messages import notice_view
from lqmf.records import Question

HINT = "That answers nothing here. Type a number or a name; `why?` for the reason, `back`, or `cancel`."


def question_view(question: Question) -> RenderableType:
    """The question and, below it, its options."""
    head = Text.assemble(("? ", "bold cyan"), (question.text, "bold"))
    if not question.options or question.kind == "confirm":
        return head
    rows = Table.grid(padding=(0, 1))
    rows.add_column(justify="right", style="cyan")
    rows.add_column(overflow="fold")
    for number, option in enumerate(question.options, 1):
        mark = ("  (recommended)", "green") if option.value == question.default else ""
        rows.add_row(str(number), Text.assemble(option.label, mark))
    return Group(head, Padding(rows, (0, 0, 0, 2)))


def reason_view(question: Question) -> RenderableType:
    """What "why?" gives."""
    return Padding(Text(question.reason or "There is nothing more to say about it.", style="italic"), (0, 0, 0, 2))


def how_view(question: Question) -> RenderableType:
    """How a question is answered: told with the first one."""
    enter = "Enter takes what is in brackets; " if question.default is not None else ""
    what = "yes or no" if question.kind == "confirm" else "a number or a name"
    return notice_view(f"Type {what}. {enter}`why?` gives the reason; `back` and `cancel` work too.")


def hint_view() -> RenderableType:
    """What may be typed where a line was no answer."""
    return notice_view(HINT)


def prompt(question: Question) -> str:
    """What stands before the answer; the default, which Enter takes, in brackets."""
    default = default_label(question)
    return f"answer [{default}]> " if default else "answer> "


def default_label(question: Question) -> str:
    """The default as it would be typed."""
    if question.kind == "secret" or question.default is None:
        return ""
    if isinstance(question.default, bool):
        return "yes" if question.default else "no"
    for number, option in enumerate(question.options, 1):
        if option.value == question.default:
            return str(number)
    return str(question.default)
