"""`lqmf demo`: the bundled model, quantized, measured, and asked to go on with a sentence. Fully offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.cli.commands import quantize
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.demo import Shown

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


def view(shown: Shown) -> RenderableType:
    """How the model went on with a sentence, and what was made."""
    from rich.console import Group

    from lqmf.cli.views.artifacts import continued_view

    return Group(continued_view(shown.prompt, shown.continuation), quantize.view(shown.made))
