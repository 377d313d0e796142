"""How a comparison looks: a column for each artifact, the better figure marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.messages import notice_view
from lqmf.cli.views.tables import NONE, milliseconds, percent, small, table
from lqmf.terminal import clean
from lqmf.units import duration, file_size, memory_size

MARK = " ★"
FIGURES: Mapping[str, Callable[[float], str]] = {
    "size_bytes": file_size,
    "peak_rss_bytes": memory_size,
    "peak_gpu_bytes": memory_size,
    "kl_divergence": small,
    "kl_divergence_p99": small,
    "top1_agreement": percent,
    "first_token_seconds": milliseconds,
    "load_seconds": duration,
    "perplexity": lambda value: f"{value:.3f}",
    "tokens_per_second_prompt": lambda value: f"{value:,.0f}",
    "tokens_per_second_generation": lambda value: f"{value:,.0f}",
}


def comparison_view(document: Mapping[str, Any]) -> RenderableType:
    """The comparison as a table; below it what cannot be compared, and why."""
    columns = _headings([artifact["name"] for artifact in document["artifacts"]])
    rows = table("", *columns, right=columns)
    for row in document["rows"]:
        rows.add_row(_title(row), *(_cell(row, index) for index in range(len(columns))))
    notes = [notice_view(note) for note in (*document["notes"], *_unmeasured(document))]
    marked = notice_view("★ the better figure")
    return Group(rows, marked, *notes)


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
    shown = FIGURES.get(row["id"], _plain)(value)
    best = index in row["best"]
    return Text(shown + (MARK if best else "  "), style="bold green" if best else "")


def _plain(value: float) -> str:
    return f"{value:.2f}"


def _unmeasured(document: Mapping[str, Any]) -> list[str]:
    untested = [clean(a["name"]) for a in document["artifacts"] if not a["measured"]]
    return [f"{name} has no receipt yet: `test {name}` makes one." for name in untested]
