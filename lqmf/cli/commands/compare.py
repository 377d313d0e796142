"""`lqmf compare`: artifacts' receipts side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.compare import Compared

COMMAND = Command(
    "compare",
    "receipts and benchmarks side by side, the better figure marked",
    intents=("compare",),
    examples=("lqmf compare demo_gguf_4bit_Q4_K_M demo_gguf_8bit_Q8_0", "lqmf compare Q4_K_M Q8_0 --json"),
    order=50,
    names_artifacts=True,
)


def cli(names: options.Names) -> Decision:
    """Compare two or more artifacts by their receipts and benchmarks; names may be parts that only one has."""
    return options.typed("compare", names=names)


def view(found: Compared) -> RenderableType:
    """Figures side by side."""
    from lqmf.cli.views.comparisons import comparison_view

    return comparison_view(found.told)
