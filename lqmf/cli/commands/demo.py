"""`lqmf demo`: the bundled model, quantized, measured, and asked to go on with a sentence. Fully offline."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.cli.commands import quantize
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "demo",
    "see it all on the bundled model, offline",
    intents=("demo",),
    examples=("lqmf demo", "lqmf demo --json"),
    order=5,
)


def cli() -> Decision:
    """Quantize the bundled model to Q4_K_M, measure it, and let it continue a sentence. Takes under a minute."""
    return options.typed("demo")


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """The same pipeline as `quantize`, then one question to the result."""
    from rich.console import Group

    from lqmf.cli.views.artifacts import continued_view
    from lqmf.pipeline import DEMO_DECISION, DEMO_PROMPT

    made = await quantize.act(app, DEMO_DECISION, ask)
    artifact = app.pipeline.find(made.data["artifact"]["path"])
    text = await app.pipeline.complete(artifact, DEMO_PROMPT)
    data = {**made.data, "prompt": DEMO_PROMPT, "continuation": text}
    return dataclasses.replace(made, data=data, view=Group(continued_view(DEMO_PROMPT, text), made.view))
