"""How a preflight looks: one screen, each finding marked, every no with its way out, and below it what will fit."""

from __future__ import annotations

import shlex

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lqmf.cli.views.fit import fit_view
from lqmf.cli.views.messages import Unfolded, done_view, error_view
from lqmf.planning.preflight import Preflight
from lqmf.terminal import clean

MARKS = {"yes": ("✓", "green"), "no": ("✗", "bold red"), "but": ("!", "yellow"), "unknown": ("?", "yellow")}


def preflight_view(preflight: Preflight, *, options: bool = False) -> RenderableType:
    """The findings, the plans and the verdict. Where there are plans, they are the finding that it fits.

    `options`: more than the model was said, and is to be said again."""
    fits = preflight.solution is not None and preflight.solution.recommended is not None
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in preflight.findings:
        if finding.name == "fit" and fits:
            continue
        detail = Text(clean(finding.detail))
        if finding.remedy:
            detail.append(f"\n→ {clean(finding.remedy)}", style="cyan")
        grid.add_row(Text(*MARKS[finding.answer]), Text(finding.name, style="bold"), detail)
    parts: list[RenderableType] = [Text(clean(preflight.model), style="bold"), grid]
    if preflight.solution is not None and fits:
        parts.append(fit_view(preflight.solution))
    return Group(*parts, Text(), _verdict(preflight, options))


def _verdict(preflight: Preflight, options: bool) -> RenderableType:
    against = [finding.name for finding in preflight.findings if finding.answer == "no"]
    if against:
        return error_view(f"It cannot be done: {', '.join(against)}.", "The lines above say what can be done instead.")
    same = " with the same options" if options else ""
    return Unfolded(done_view(f"It can be done: `quantize {shlex.quote(clean(preflight.model))}`{same} begins."))
