"""Tables as all views draw them, and figures as all views write them. Knows rich; knows no records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from lqmf.terminal import clean

NONE = "-"


def table(*columns: str, title: str = "", right: Sequence[str] = (), keep: Sequence[str] = ()) -> Table:
    """An empty table; columns in `right` are aligned so, those in `keep` never wrap."""
    made = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False)
    for name in columns:
        made.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name in keep,
            overflow="fold",
            header_style="dim",
        )
    return made


class Narrowing:
    """A table that leaves out columns where the terminal is narrow: `make(left_out)` draws it, `widths` says which
    columns need how many columns of the terminal."""

    def __init__(self, make: Callable[[frozenset[str]], RenderableType], widths: Mapping[str, int]) -> None:
        self._make = make
        self._widths = widths

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._make(frozenset(name for name, width in self._widths.items() if options.max_width < width))


def widths(columns: Mapping[str, Sequence[str]], order: Sequence[str]) -> dict[str, int]:
    """How wide a terminal each column needs that may be left out, in this order: so wide that it fits beside those
    still there."""
    left, needed = dict(columns), {}
    for name in order:
        needed[name] = 3 * len(left) - 1 + sum(max(map(cell_len, (head, *cells))) for head, cells in left.items())
        left.pop(name, None)
    return needed


def facts(rows: Sequence[tuple[str, Any]], title: str = "") -> RenderableType:
    """Names and values, one below the other."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, value if isinstance(value, Text) else cell(value))
    return Group(Text(title, style="bold"), grid) if title else grid


def cell(value: Any) -> str:
    """A value as a cell: nothing is a dash, yes and no are words, a whole float loses its point."""
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return clean(str(value))


def when(stamp: Any) -> str:
    """An ISO time or a Unix time, shortly: 2025-01-31 14:05."""
    if stamp in (None, ""):
        return NONE
    if isinstance(stamp, int | float):
        import datetime

        return datetime.datetime.fromtimestamp(stamp).strftime("%Y-%m-%d %H:%M")
    return clean(str(stamp))[:16].replace("T", " ")


def bar(share: float, width: int = 20) -> Text:
    """A share of 1 as a bar."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return Text.assemble(("█" * filled, "green"), ("░" * (width - filled), "dim"))
