"""How a comparison looks: a column for each artifact, the better figure marked, and what a friend would say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.charts import comparison_chart
from lqmf.cli.views.messages import notice_view
from lqmf.cli.views.tables import NONE, milliseconds, percent, small, table
from lqmf.terminal import clean
from lqmf.units import duration, file_size, memory_size

MARK, ALIKE = " ★", " ≈"
FIGURES: Mapping[str, Callable[[float], str]] = {
    "size_bytes": file_size,
    "peak_rss_bytes": memory_size,
    "peak_gpu_bytes": memory_size,
    "top1_agreement": percent,
    "first_token_seconds": milliseconds,
    "load_seconds": duration,
    "perplexity": lambda value: f"{value:.3f}",
}


def comparison_view(document: Mapping[str, Any]) -> RenderableType:
    """The comparison as a table; below it what cannot be compared, and why."""
    columns = _headings([artifact["name"] for artifact in document["artifacts"]])
    rows = table("", *columns, right=columns)
    for row in document["rows"]:
        rows.add_row(_title(row), *(_cell(row, index) for index in range(len(columns))))
    notes = [notice_view(note) for note in (*document["notes"], *_unmeasured(document))]
    notes += [notice_view(told, warning=True) for told in _failed(document)]
    marked = notice_view(
        "★ better, by more than chance; ≈ no more than chance; no mark: the same, or nothing to tell by"
    )
    sentence = Text(clean(document["sentence"]), style="bold")
    return Group(rows, marked, *notes, comparison_chart(document), Text(), sentence)


def _headings(names: Sequence[str]) -> list[str]:
    """Names as headings; equal ones are told apart by number."""
    cleaned = [clean(name) for name in names]
    return [name if cleaned.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(cleaned, 1)]


def _title(row: Mapping[str, Any]) -> str:
    unit = row["unit"] if row["unit"] in ("nats/token", "tokens/s") else ""
    return f"{row['title']}, {unit}" if unit else str(row["title"])


def _cell(row: Mapping[str, Any], index: int) -> Text:
    value = row["values"][index]
    if value is None:
        return Text(NONE + "  ", style="dim")
    shown = _figure(row)(value)
    best = index in row["best"]
    alike = row["verdict"] == "same" and row["tested"] != "exact"
    return Text(shown + (MARK if best else ALIKE if alike else "  "), style="bold green" if best else "")


def _figure(row: Mapping[str, Any]) -> Callable[[float], str]:
    """How a row's values are written: by what it is, else by its unit."""
    by_unit = {"nats/token": small, "tokens/s": lambda value: f"{value:,.0f}", "0..1": lambda value: f"{value:.3f}"}
    return FIGURES.get(row["id"]) or by_unit.get(row["unit"]) or _plain


def _plain(value: float) -> str:
    return f"{value:.2f}"


def _failed(document: Mapping[str, Any]) -> list[str]:
    failed = [clean(a["name"]) for a in document["artifacts"] if a.get("gate_passed") is False]
    return [f"{name} failed its gate: `show {name}` says why." for name in failed]


def _unmeasured(document: Mapping[str, Any]) -> list[str]:
    untested = [clean(a["name"]) for a in document["artifacts"] if not a["measured"]]
    return [f"{name} has no receipt yet: `test {name}` makes one." for name in untested]
