"""`lqmf report`: one HTML page on artifacts, with charts and tables, that works offline.

With --layers it first measures which tensors lose how much, where that is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.operations.report import OUT
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.report import Reported

COMMAND = Command(
    "report",
    "an HTML page with charts of artifacts, offline",
    intents=("report",),
    examples=("lqmf report", "lqmf report Q4_K_M Q8_0 --out report.html", "lqmf report Q4_K_M --layers --json"),
    order=57,
    names_artifacts=True,
)


def cli(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            help="Artifacts: names or parts of them; all of them if left out.",
            autocompletion=options.artifact_names,
        ),
    ] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help=f"Where to write it: {OUT} here.")] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Measure first what each layer's tensors lose, where that is not known.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is no report of LQMF's.")] = False,
) -> Decision:
    """Write a page that needs nothing else: size against loss, speed, memory, layers, history and predictions."""
    return options.typed("report", names=names or None, out=out, layers=layers or None, force=force or None)


def view(page: Reported) -> RenderableType:
    """Where the page lies."""
    from lqmf.cli.views.messages import Unfolded, done_view

    names = page.artifacts
    on = names[0] if len(names) == 1 else f"{len(names)} artifacts"
    return Unfolded(done_view(f"Wrote {page.path}, on {on}: open it in a browser."))
