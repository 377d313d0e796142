"""How single messages look: an error with its remedy, a notice, a success. Knows rich; reads nothing."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import ControlType, Segment
from rich.table import Table
from rich.text import Text

from lqmf.terminal import clean

UNFOLDED = 10_000  # columns


def error_view(what: str, remedy: str = "") -> RenderableType:
    """ "✗ what. why", and below it "→ remedy"."""
    lines: list[RenderableType] = [_marked("✗", "bold red", Text(what))]
    if remedy:
        lines.append(Padding(_marked("→", "cyan", Text(remedy)), (0, 0, 0, 2)))
    return Group(*lines)


def notice_view(text: str, *, warning: bool = False) -> RenderableType:
    """One sentence in passing."""
    return _marked("!" if warning else "·", "yellow" if warning else "dim", Text(text, style="" if warning else "dim"))


def done_view(text: str) -> RenderableType:
    """A piece of work that succeeded."""
    return _marked("✓", "bold green", Text(text))


def stage_view(title: str, took: str, *, ok: bool = True) -> RenderableType:
    """A stage of a job that is behind us, with what it took; `ok` says whether it brought what it was to bring."""
    return _marked(*(("✓", "green") if ok else ("✗", "red")), Text.assemble(title, (f"  {took}", "dim")))


class Unfolded:
    """A view that is folded at a terminal's edge, and nowhere else: a path or a command in a pipe stays whole."""

    def __init__(self, view: RenderableType) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.is_terminal:
            yield self._view
        else:
            yield from console.render(self._view, options.update(width=UNFOLDED))


class Copied:
    """Lines to be copied. A terminal wraps each itself, so that it is still one line when copied: rich neither folds
    nor crops what it takes for control codes."""

    def __init__(self, text: str) -> None:
        self._lines = clean(text).split("\n")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines:
            yield Segment(line, None, [(ControlType.CARRIAGE_RETURN,)] if options.is_terminal else None)
            yield Segment.line()


def marked_view(mark: str, style: str, text: str) -> RenderableType:
    """A line behind a mark, its further lines under its first word."""
    return _marked(mark, style, Text(text))


def _marked(mark: str, style: str, text: Text) -> RenderableType:
    row = Table.grid(padding=(0, 1), expand=False)
    row.add_column(width=1)
    row.add_column(overflow="fold")
    row.add_row(Text(mark, style=style), text)
    return row


def banner_view(text: str) -> RenderableType:
    """What the chat greets with."""
    return Text(text, style="bold")
