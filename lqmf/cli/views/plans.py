"""How a plan looks: every choice with its value, its reason and whose it was; below, what it will cost."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.tables import cell, facts, table
from lqmf.records import Estimate, QuantizationPlan
from lqmf.units import duration, file_size, memory_size

MEASURING = {"none": "", "quick": ", then two minutes of measuring at most", "comprehensive": ", then measuring all"}
WHOSE = {"user": "you", "rules": "advice", "provider": "helper", "settings": "settings"}


def plan_view(plan: QuantizationPlan) -> RenderableType:
    """The plan as a table."""
    rows = table("choice", "value", "reason", "from", keep=("choice", "from"))
    for choice in plan.choices:
        rows.add_row(
            choice.name.replace("_", " "),
            Text(cell(choice.value), style="bold"),
            cell(choice.reason),
            Text(WHOSE.get(choice.source, choice.source), style="cyan" if choice.source == "user" else "dim"),
        )
    parts: list[RenderableType] = [Text("Plan", style="bold"), rows]
    if plan.estimate:
        parts.append(_estimate(plan.estimate, MEASURING[plan.test]))
    return Group(*parts)


def _estimate(estimate: Estimate, measuring: str) -> RenderableType:
    rows = [
        ("result", file_size(estimate.size_bytes)),
        ("download", file_size(estimate.download_bytes) if estimate.download_bytes else "nothing"),
        ("disk on the way", file_size(estimate.disk_peak_bytes)),
        ("memory on the way", memory_size(estimate.ram_peak_bytes)),
    ]
    if estimate.seconds is not None:
        rows.append(("time", f"about {duration(estimate.seconds)}{measuring}"))
    return facts(rows)
