"""How a check-up looks: a list with marks, and a remedy where something lacks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lqmf.cli.views.messages import done_view, error_view
from lqmf.cli.views.tables import table
from lqmf.fit.calibration import Calibration, Rates
from lqmf.operations.doctor import Check
from lqmf.terminal import clean

MARKS = {"ok": ("✓", "green"), "note": ("·", "dim"), "warning": ("!", "yellow"), "missing": ("✗", "bold red")}


def checkup_view(checks: Sequence[Check], measured: Calibration | None = None) -> RenderableType:
    """Every check on a line of its own, and what was `measured` of the machine just now."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for check in checks:
        detail = Text(clean(check.detail))
        if check.remedy:
            detail.append(f"\n→ {clean(check.remedy)}", style="cyan")
        grid.add_row(Text(*MARKS[check.state]), Text(check.name, style="bold"), detail)
    rates = [_rates(title, found) for title, found in _devices(measured) if found]
    return Group(*rates, grid, Text(), _verdict(checks))


def _devices(measured: Calibration | None) -> Sequence[tuple[str, Rates | None]]:
    return (("The processor", measured.cpu), ("The GPU", measured.gpu)) if measured else ()


def _rates(title: str, found: Rates) -> RenderableType:
    """What each type of weights costs: a token that is written reads them all, a prompt computes with them."""
    numbers = ("writing", "reading")
    made = table("weights", *numbers, title=title, right=numbers, keep=numbers)
    for name, rate in sorted(found.types.items(), key=lambda item: -item[1].read_bytes_per_second):
        writing, reading = rate.read_bytes_per_second / 1e9, rate.multiply_adds_per_second / 1e9
        made.add_row(clean(name.upper()), f"{writing:.1f} GB/s", f"{reading:,.0f} G multiply-adds/s")
    return made


def _verdict(checks: Sequence[Check]) -> RenderableType:
    missing = [check.name for check in checks if check.state == "missing"]
    if missing:
        return error_view(f"Something is missing: {', '.join(missing)}.", "The lines above say what to do.")
    return done_view("Everything needed is here.")
