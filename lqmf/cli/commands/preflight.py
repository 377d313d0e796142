"""`lqmf preflight`: can it be done here, what will it cost, and what will fit? No weights are fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.preflight import Examined

COMMAND = Command(
    "preflight",
    "whether a model can be done here, and what will fit; no weights",
    intents=("preflight",),
    examples=(
        "lqmf preflight org/name",
        "lqmf preflight org/name --memory 8GB --context 16k",
        "lqmf preflight demo --json",
    ),
    order=15,
)


@options.of_request("preflight")
def cli(decision: Decision) -> Decision:
    """Say of MODEL, before its weights are fetched, whether it can be quantized here, what that costs, and which ways
    to run it fit this machine. Every no comes with a way out. Exit 1 when it cannot be done."""
    return decision


def view(found: Examined) -> RenderableType:
    """Everything that was found, on one screen."""
    from lqmf.cli.views.preflight import preflight_view

    return preflight_view(found.found, options=found.narrowed)
