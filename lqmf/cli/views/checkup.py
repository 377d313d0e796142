"""How a check-up looks: a list with marks, and a remedy where something lacks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lqmf.cli.checkup import Check
from lqmf.cli.render import clean
from lqmf.cli.views.messages import done_view, error_view

MARKS = {"ok": ("✓", "green"), "note": ("·", "dim"), "warning": ("!", "yellow"), "missing": ("✗", "bold red")}


def checkup_view(checks: Sequence[Check]) -> RenderableType:
    """Every check on a line of its own."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for check in checks:
        detail = Text(clean(check.detail))
        if check.remedy:
            detail.append(f"\n→ {clean(check.remedy)}", style="cyan")
        grid.add_row(Text(*MARKS[check.state]), Text(check.name, style="bold"), detail)
    return Group(grid, Text(), _verdict(checks))


def _verdict(checks: Sequence[Check]) -> RenderableType:
    missing = [check.name for check in checks if check.state == "missing"]
    if missing:
        return error_view(f"Something is missing: {', '.join(missing)}.", "The lines above say what to do.")
    return done_view("Everything needed is here.")
