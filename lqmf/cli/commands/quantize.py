"""`lqmf quantize`: the main job, from a model to a measured artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import gating, options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.quantize import Quantized

COMMAND = Command(
    "quantize",
    "make a quantized model, and measure it",
    intents=("quantize",),
    examples=(
        "lqmf quantize demo --type Q4_K_M",
        "lqmf quantize org/name --bits 4 --memory 8GB --device gpu --yes",
        "lqmf quantize ./my-model --type Q5_K_M,Q8_0 --test comprehensive",
        "lqmf quantize org/name --type auto --target-size 4.2GB",
        "lqmf quantize demo --type Q4_K_M --yes --json",
    ),
    order=10,
)


@options.of_request("quantize")
def cli(decision: Decision) -> Decision:
    """Quantize MODEL: plan, download, convert, quantize and measure. What is left open is asked, or with --yes chosen.

    The result lies in quantized-models/, with a manifest, a receipt of how good it is, and a model card."""
    gating.refuse_unmeasured(decision.slots.get("gate"), decision.slots.get("test"))
    return decision


def view(made: Quantized) -> RenderableType:
    """What was made, and what can be done next."""
    from lqmf.cli.views.artifacts import made_view

    return made_view(made.artifacts, made.feedback, made.chats)
