"""`lqmf doctor`: does this machine have what LQMF needs, and if not, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.doctor import Examined

COMMAND = Command(
    "doctor",
    "hardware, versions and set-up, each with its remedy",
    intents=("doctor",),
    examples=("lqmf doctor", "lqmf doctor --fix", "lqmf doctor --calibrate", "lqmf doctor --online --json"),
    order=200,
    panel="Set-up",
    remembered=False,
)


def cli(
    fix: Annotated[
        bool, typer.Option("--fix", help="Build llama.cpp anew where it does not run; fetch its converter if absent.")
    ] = False,
    online: Annotated[bool, typer.Option("--online", help="Ask Hugging Face whose token it is.")] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure this machine, so that plans can say how fast models will be.")
    ] = False,
) -> Decision:
    """Check hardware, versions, llama.cpp's answers, its converter, Hugging Face and the workspace. Exit 1 when
    something needed lacks."""
    return options.typed("doctor", fix=fix or None, online=online or None, calibrate=calibrate or None)


def view(found: Examined) -> RenderableType:
    """Every check, one after the other."""
    from lqmf.cli.views.checkup import checkup_view

    return checkup_view(found.checks, found.calibration)
