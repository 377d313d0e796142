"""How statistics look: how jobs ended as bars, space saved, methods side by side; predictions beside measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lqmf.cli.views.charts import methods_chart
from lqmf.cli.views.messages import notice_view
from lqmf.cli.views.records import STYLES
from lqmf.cli.views.tables import NONE, Narrowing, bar, cell, facts, table
from lqmf.fit.corrections import LEAST
from lqmf.fit.predictions import LABELS
from lqmf.fit.predictions import percent as error_text
from lqmf.terminal import clean
from lqmf.units import duration, file_size, percent, small


def stats_view(stats: Mapping[str, Any]) -> RenderableType:
    """Everything that was done, summed up."""
    jobs, made = stats["jobs"], stats["artifacts"]
    if not jobs["total"] and not made["total"]:
        return notice_view("Nothing was done yet. `quantize demo` begins.")
    head = facts(
        [
            ("jobs", f"{jobs['total']}, {percent(jobs['success_rate'], 0)} of those ended went well"),
            ("tried again", f"{jobs['retries']} times"),
            ("artifacts", f"{made['total']}, {file_size(made['size_bytes'])}"),
            ("space saved", file_size(made["saved_bytes"])),
        ]
    )
    return Group(head, Text(), _endings(jobs), *_times(stats["seconds"]), *_methods(stats["methods"]))


def _endings(jobs: Mapping[str, Any]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for status, count in jobs["by_status"].items():
        grid.add_row(Text(status, style=STYLES.get(status, "")), bar(count / max(jobs["total"], 1)), str(count))
    return grid


def _times(seconds: Mapping[str, Any]) -> list[RenderableType]:
    rows = [(f"{method}, {each['jobs']}", f"{duration(each['median'])} each") for method, each in seconds.items()]
    return [Text(), facts(rows, "Time for a quantization")] if rows else []


def _methods(methods: list[Mapping[str, Any]]) -> list[RenderableType]:
    if not methods:
        return []
    figures = ("made", "smaller", "KL", "same top", "tokens/s")
    rows = table("method", "type", *figures, right=figures, keep=("method", *figures))
    for each in methods:
        ratio, speed = each["compression_ratio"], each["generation_per_second"]
        rows.add_row(
            cell(each["method"]),
            cell(each["type"]),
            str(each["artifacts"]),
            NONE if ratio is None else f"{ratio:.2f}x",
            small(each["kl_mean"]),
            percent(each["top1_agreement"]),
            NONE if speed is None else f"{speed:,.0f}",
        )
    return [rows, methods_chart(methods)]


def predictions_view(learnt: Sequence[Mapping[str, Any]]) -> RenderableType:
    """How far off predictions were, by machine and quantity, and what they taught."""
    if not learnt:
        return notice_view("No prediction has met its measurement yet. `quantize demo` makes some.")
    by_machine = groupby(sorted(learnt, key=lambda each: str(each["machine"])), key=lambda each: str(each["machine"]))
    return Group(*(_machine(machine, list(found)) for machine, found in by_machine))


def _machine(machine: str, learnt: Sequence[Mapping[str, Any]]) -> RenderableType:
    def make(left_out: frozenset[str]) -> RenderableType:
        every = ("jobs", "error", "worst", "missed", "uncorrected", "corrected")
        figures = [name for name in every if name not in left_out]
        rows = table(
            "what", "method", "on", *figures, title=clean(machine), right=figures, keep=("what", "method", *figures)
        )
        for each in learnt:
            told = _errors(each)
            what = LABELS.get(each["quantity"], cell(each["quantity"]))
            rows.add_row(what, cell(each["method"]), cell(each["device"]), *(told[name] for name in figures))
        return rows

    told: list[RenderableType] = [Text(clean(each["description"])) for each in learnt if each["jobs"] >= LEAST]
    waiting = [] if told else [notice_view(f"Predictions are corrected after {LEAST} jobs of a kind.")]
    return Group(Narrowing(make, {"missed": 95, "uncorrected": 95}), *(told or waiting))


def _errors(each: Mapping[str, Any]) -> dict[str, str]:
    after = each["corrected_error"]
    return {
        "jobs": str(each["jobs"]),
        "error": error_text(each["median_error"]),
        "worst": error_text(each["worst_error"], "+"),
        "missed": str(each["missed"]),
        "uncorrected": error_text(each["uncorrected_error"]),
        "corrected": NONE if after is None else error_text(after),
    }
