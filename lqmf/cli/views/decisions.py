"""How a decision looks: what a sentence was understood as."""

from __future__ import annotations

from rich.console import RenderableType
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
