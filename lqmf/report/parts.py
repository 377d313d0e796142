"""The parts of the report's page: tables and charts, as plain data. Knows no HTML, no plotly and no records.

A figure is plotly's JSON ({"data", "layout"}); its colours are CSS variables of the page ("var(--series-1)"), which the
page's script resolves, so that a chart follows a dark screen and a printer.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Figure = Mapping[str, Any]

SERIES = 7  # colours that the page has; two things of one colour still differ by shape and by what stands beside them
CLEAR = "rgba(0,0,0,0)"
INK, QUIET, GRID = "var(--ink)", "var(--quiet)", "var(--grid)"
GROUND, SURFACE = "var(--ground)", "var(--surface)"
MOST_TICKS = 9  # of a logarithmic axis
HEAT = 6  # steps of the scale from the least to the most
# above the plot, where a narrow screen has room for it
LEGEND: Mapping[str, Any] = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "font": {"size": 12}}


@dataclass(frozen=True)
class Cell:
    """A figure or a word in a table. `sort` orders the column; None is always last. `reason` says why there is no
    figure."""

    text: str
    sort: float | str | None = None
    reason: str = ""
    mark: str = ""  # a word behind it: "best", "failed"


@dataclass(frozen=True)
class Column:
    """A column's heading; `numeric` columns are aligned to the right and sorted as numbers."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells, as many as there are columns in each row; the first cell of a row names the row."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Chart:
    """A chart, in words (`summary`), as a figure and as a table. Without a `figure`, `missing` says why there is none,
    and `remedy` is the command to type. `height` is in pixels of the screen."""

    id: str
    title: str
    summary: str
    figure: Figure | None = None
    table: Table | None = None
    notes: Sequence[str] = ()
    missing: str = ""
    remedy: str = ""
    height: int = 420


@dataclass(frozen=True)
class Section:
    """A heading of the page with its charts; `lead` says what the charts are for."""

    id: str
    title: str
    lead: str
    charts: Sequence[Chart] = field(default_factory=tuple)


# ---------------------------------------------------------------- cells


def word(text: str | None, reason: str = "") -> Cell:
    """Return a cell of words; for an empty text a dash, with `reason`."""
    return Cell(text, text.casefold()) if text else Cell("–", None, reason)


def number(value: float | None, text: str, reason: str = "", mark: str = "") -> Cell:
    """Return a cell that sorts by `value` and shows `text`; for None a dash, with `reason`."""
    return Cell("–", None, reason or "not measured") if value is None else Cell(text, float(value), "", mark)


def significant(value: float | None, digits: int = 3) -> str:
    """Return a figure with `digits` significant digits: 0.00221; below a ten-thousandth 1.1e-05; from a thousand on
    2,000."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def scale(largest_bytes: float, base: int = 1000) -> tuple[float, str]:
    """Return (divisor, name) of the unit for an axis of bytes: GB or MB, powers of `base`."""
    return (float(base**3), "GB") if largest_bytes >= 0.5 * base**3 else (float(base**2), "MB")


# ---------------------------------------------------------------- figures


def series(place: int) -> str:
    """Return the colour of the series at `place`, from 0."""
    return f"var(--series-{place % SERIES + 1})"


def heat_scale() -> list[list[Any]]:
    """Return the colour scale of a heat map, from the least to the most."""
    return [[step / (HEAT - 1), f"var(--heat-{step + 1})"] for step in range(HEAT)]


def told(*lines: str) -> str:
    """Return text for a chart, line by line, with HTML escaped: texts that others wrote cannot bring markup."""
    return "<br>".join(html.escape(line, quote=False) for line in lines if line)


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return a plotly axis; it does not zoom, so that a finger on it scrolls the page."""
    return {
        "title": {"text": told(title)},
        "gridcolor": GRID,
        "linecolor": QUIET,
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
        "ticks": "outside",
        "tickcolor": QUIET,
        **more,
    }


def logarithmic(title: str, values: Sequence[float], **more: Any) -> dict[str, Any]:
    """Return a logarithmic axis that holds those of `values` that are above 0 with room around, its ticks in plain
    figures."""
    values = [value for value in values if value > 0] or [1.0]
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.1, (high - low) * 0.1)
    ends = low - room, high + room
    marks = _ticks(*ends)
    shown = {"tickvals": marks, "ticktext": [significant(mark) for mark in marks], "range": list(ends)}
    return axis(title, type="log", **shown, **more)


def _ticks(low: float, high: float) -> list[float]:
    """Round figures between two powers of ten, MOST_TICKS at most."""
    for steps in (
        (1, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
        (1, 1.5, 2, 3, 5, 7),
        (1, 2, 5),
        (1, 3),
        (1,),
    ):
        powers = range(math.floor(low), math.ceil(high) + 1)
        found = [mark for power in powers for step in steps if low <= math.log10(mark := step * 10**power) <= high]
        if len(found) <= MOST_TICKS:
            return found
    return found[:: math.ceil(len(found) / MOST_TICKS)]


def layout(x: Mapping[str, Any], y: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return the layout that all charts have in common; `more` adds to it, or replaces."""
    return {
        "xaxis": dict(x),
        "yaxis": dict(y),
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "margin": {"l": 8, "r": 16, "t": 12, "b": 8},
        "legend": LEGEND,
        "hoverlabel": {"bgcolor": SURFACE, "bordercolor": QUIET, "font": {"color": INK, "size": 13}, "align": "left"},
        "hovermode": "closest",
        "dragmode": False,
        **more,
    }
