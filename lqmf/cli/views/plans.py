"""How a plan looks: each choice with its value, its reason and whose it was; below, what it will cost."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.tables import cell, facts, table
from lqmf.quality.measures import BUSY
from lqmf.records import Estimate, QuantizationPlan
from lqmf.units import duration, file_size, memory_size

MEASURING = {"none": "", "quick": ", then two minutes of measuring at most", "comprehensive": ", then measuring all"}
WHOSE = {"user": "you", "rules": "rules", "provider": "advice", "settings": "settings"}


def plan_view(plan: QuantizationPlan) -> RenderableType:
    """The plan as a table below the model's name, without what follows from the rest: bits from the type whose blocks
    fit, and on a CPU that nothing falls back to it."""
    rows = table("choice", "value", "reason", "from", keep=("choice", "from"))
    for choice in plan.choices:
        if choice.name == "model" or (choice.source == "rules" and _follows(choice.name, plan)):
            continue
        rows.add_row(
            choice.name.replace("_", " "),
            Text(_value(choice.value), style="bold"),
            cell(choice.reason),
            Text(WHOSE.get(choice.source, choice.source), style="cyan" if choice.source == "user" else "dim"),
        )
    parts: list[RenderableType] = [_title(plan), rows]
    if plan.estimate:
        parts.append(_estimate(plan.estimate, MEASURING[plan.test]))
    return Group(*parts)


def _title(plan: QuantizationPlan) -> Text:
    model = next((choice for choice in plan.choices if choice.name == "model"), None)
    if model is None:
        return Text("Plan", style="bold")
    return Text.assemble((f"Plan for {cell(model.value)}", "bold"), (f": {cell(model.reason)}", "dim"))


def _follows(name: str, plan: QuantizationPlan) -> bool:
    return (name == "bits" and not plan.misfit) or (name == "cpu_fallback" and plan.device == "cpu")


def _value(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else cell(value)


def _estimate(estimate: Estimate, measuring: str) -> RenderableType:
    rows = [
        ("download", file_size(estimate.download_bytes) if estimate.download_bytes else "nothing"),
        ("result", file_size(estimate.size_bytes)),
        ("on the way", f"{file_size(estimate.disk_peak_bytes)} of disk, {memory_size(estimate.ram_peak_bytes)} of RAM"),
    ]
    if estimate.seconds is not None:
        crowded = " beside what else runs on this machine now" if estimate.load > BUSY else ""
        seconds = estimate.seconds_now if crowded else estimate.seconds
        rows.append(("time", f"about {duration(seconds)}{crowded}{measuring}"))
    return facts(rows)
