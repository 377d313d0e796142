"""How a decision looks: what a sentence was understood as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.tables import cell, facts
from lqmf.records import Decision


def decision_view(decision: Decision) -> RenderableType:
    """Intent, slots, confidence and reason."""
    slots = [
        (f"  {name}", cell(", ".join(map(str, value)) if isinstance(value, list | tuple) else value))
        for name, value in decision.slots.items()
    ]
    rows = [
        ("intent", Text(decision.intent, style="bold")),
        *slots,
        ("confidence", f"{decision.confidence:.2f}"),
        ("reason", decision.reason),
    ]
    rows += [("conflict", conflict) for conflict in decision.conflicts]
    return facts(rows)


def both_view(decision: Decision, helped: Mapping[str, Any]) -> RenderableType:
    """The rules' reading, and beside it a provider's: what it proposed, what was dropped, what would stand."""
    kept = helped["decision"]
    rows = [
        ("proposed", _pairs(helped["proposal"])),
        *(("dropped", one) for one in helped["dropped"]),
        ("would stand", f"{kept['intent']}: {_pairs(kept['slots'])}" if kept else None),
    ]
    return Group(
        Text("By the rules", style="bold"),
        decision_view(decision),
        Text(),
        facts(rows, title=f"By {helped['provider']} ({helped['model']})"),
    )


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
