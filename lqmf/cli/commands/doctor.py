"""`lqmf doctor`: does this machine have what LQMF needs, and if not, what to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

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


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Every check, one after the other."""
    from lqmf.cli import checkup
    from lqmf.cli.views.checkup import checkup_view
    from lqmf.records import to_json

    measured = await checkup.calibrate(app) if decision.slots.get("calibrate") else None
    if decision.slots.get("fix"):
        await asyncio.to_thread(checkup.fix, app)
    checks = await asyncio.to_thread(checkup.examine, app, online=bool(decision.slots.get("online")))
    healthy = all(check.state != "missing" for check in checks)
    data: dict[str, Any] = {"healthy": healthy, "checks": [check.to_json() for check in checks]}
    if measured:
        data["calibration"] = to_json(measured)
    return Outcome(data, checkup_view(checks, measured), exit_code=0 if healthy else 1)
