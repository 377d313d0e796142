"""How a comparison looks: a column for each artifact, the better figure marked, and what a friend would say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.charts import comparison_chart
from lqmf.cli.views.messages import notice_view
from lqmf.cli.views.tables import NONE, table
from lqmf.quality import measures
from lqmf.terminal import clean
from lqmf.units import rate, small

MARK, ALIKE = " ★", " ≈"
BY_UNIT: Mapping[str, Callable[[float], str]] = {"nats/token": small, "tokens/s": rate, "0..1": "{:.3f}".format}


def comparison_view(document: Mapping[str, Any]) -> RenderableType:
    """The comparison as a table; below it what cannot be compared, and why."""
    columns = _headings([artifact["name"] for artifact in document["artifacts"]])
    rows = table("", *columns, right=columns)
    for row in document["rows"]:
        rows.add_row(measures.titled(row["title"], row["unit"]), *(_cell(row, index) for index in range(len(columns))))
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


def _cell(row: Mapping[str, Any], index: int) -> Text:
    value = row["values"][index]
    if value is None:
        return Text(NONE + "  ", style="dim")
    shown = _figure(row)(value)
    best = index in row["best"]
    alike = row["verdict"] == "same" and row["tested"] != "exact"
    return Text(shown + (MARK if best else ALIKE if alike else "  "), style="bold green" if best else "")


def _figure(row: Mapping[str, Any]) -> Callable[[float], str]:
    """How a row's values are written: as its measure's are, else by its unit."""
    known = {one.id: one.write for one in measures.MEASURES}
    return known.get(row["id"]) or BY_UNIT.get(row["unit"]) or "{:.2f}".format


def _failed(document: Mapping[str, Any]) -> list[str]:
    failed = [clean(a["name"]) for a in document["artifacts"] if a.get("gate_passed") is False]
    return [f"{name} failed its gate: `show {name}` says why." for name in failed]


def _unmeasured(document: Mapping[str, Any]) -> list[str]:
    untested = [clean(a["name"]) for a in document["artifacts"] if not a["measured"]]
    return [f"{name} has no receipt yet: `test {name}` makes one." for name in untested]
