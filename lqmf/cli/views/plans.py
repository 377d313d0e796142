"""How a plan looks: each choice with its value, its reason and whose it was; below, what it will cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.messages import notice_view
from lqmf.cli.views.tables import NONE, Narrowing, cell, facts, table, widths
from lqmf.quality.measures import BUSY
from lqmf.records import Choice, Estimate, QuantizationPlan
from lqmf.terminal import clean
from lqmf.units import duration, file_size, memory_size

MEASURING = {"none": "", "quick": ", then two minutes of measuring at most", "comprehensive": ", then measuring all"}
NARROWER = ("imatrix", "bits", "base", "time")  # columns of several plans, in the order in which they go
WHOSE = {"user": "you", "rules": "rules", "provider": "advice", "settings": "settings"}


def plan_view(plan: QuantizationPlan) -> RenderableType:
    """The plan as a table below the model's name, without what follows from the rest: bits from the type whose blocks
    fit, and on a CPU that nothing falls back to it."""
    parts = [_title(plan), _choices(_telling(plan))]
    if plan.estimate:
        parts.append(_estimate(plan.estimate, MEASURING[plan.test]))
    return Group(*parts)


def plans_view(plans: Sequence[QuantizationPlan]) -> RenderableType:
    """Plans for one model as one: the choices that they share, then a row for each with what is its own."""
    if len(plans) == 1:
        return plan_view(plans[0])
    values = [{choice.name: choice.value for choice in plan.choices} for plan in plans]
    differing = [name for name in values[0] if any(one.get(name) != values[0][name] for one in values)]
    shared = [choice for choice in _telling(plans[0]) if choice.name not in differing]
    columns = {name.replace("_", " "): [_value(own.get(name)) for own in values] for name in differing}
    estimates = [plan.estimate for plan in plans]
    columns["result"] = [file_size(one.size_bytes if one else None) for one in estimates]
    columns["time"] = [duration(one.seconds if one else None) for one in estimates]
    going = [name for name in NARROWER if name in columns]
    rows = Narrowing(lambda left_out: _plans(columns, left_out), widths(columns, going))
    return Group(_title(plans[0]), _choices(shared), rows)


def _plans(columns: Mapping[str, Sequence[str]], left_out: frozenset[str]) -> RenderableType:
    kept = {name: cells for name, cells in columns.items() if name not in left_out}
    rows = table(*kept, right=("result", "time"), keep=tuple(kept))
    for row in zip(*kept.values(), strict=True):
        rows.add_row(*row)
    return rows


def changes_view(before: QuantizationPlan, now: QuantizationPlan) -> RenderableType:
    """What of a plan is otherwise than in the one that was shown before."""
    old = {choice.name: choice.value for choice in _telling(before)}
    new = {choice.name: choice for choice in _telling(now)}
    rows = [
        (name, _value(old.get(name)), _value(choice.value), choice.reason)
        for name, choice in new.items()
        if old.get(name) != choice.value
    ]
    if before.estimate and now.estimate and before.estimate.size_bytes != now.estimate.size_bytes:
        rows.append(("result", file_size(before.estimate.size_bytes), file_size(now.estimate.size_bytes), ""))
    gone = [(name, _value(value), NONE, "") for name, value in old.items() if name not in new]
    if not rows + gone:
        return notice_view("Nothing of the plan changes.")
    shown = table("choice", "before", "now", "reason", keep=("choice", "before", "now"))
    for name, then, value, reason in (*rows, *gone):
        shown.add_row(name.replace("_", " "), Text(then, style="dim"), Text(value, style="bold"), clean(reason))
    return Group(shown, notice_view("The rest of the plan stays as it was."))


def _telling(plan: QuantizationPlan) -> list[Choice]:
    return [c for c in plan.choices if c.name != "model" and not (c.source == "rules" and _follows(c.name, plan))]


def _choices(choices: Sequence[Choice]) -> RenderableType:
    """Choices, one a row; where the terminal is narrow, the reason stands with the value, and whose it was goes."""
    return Narrowing(lambda narrow: _rows(choices, narrow=bool(narrow)), {"from": 60})


def _rows(choices: Sequence[Choice], *, narrow: bool) -> RenderableType:
    if narrow:
        return facts([(_named(c), Text.assemble((_value(c.value), "bold"), f"  {cell(c.reason)}")) for c in choices])
    rows = table("choice", "value", "reason", "from", keep=("choice", "from"))
    for c in choices:
        whose = Text(WHOSE.get(c.source, c.source), style="cyan" if c.source == "user" else "dim")
        rows.add_row(_named(c), Text(_value(c.value), style="bold"), cell(c.reason), whose)
    return rows


def _named(choice: Choice) -> str:
    return choice.name.replace("_", " ")


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
