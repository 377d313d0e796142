"""How statistics look: how jobs ended as bars, space saved, methods side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lqmf.cli.views.messages import notice_view
from lqmf.cli.views.records import STYLES
from lqmf.cli.views.tables import NONE, bar, cell, facts, percent, small, table
from lqmf.units import duration, file_size


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
    return [rows]
