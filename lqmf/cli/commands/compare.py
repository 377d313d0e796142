"""`lqmf compare`: artifacts' receipts side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.errors import UsageError
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

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


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """The comparison of what is named; without names, of the two newest."""
    from lqmf.cli.views.comparisons import comparison_view

    names = list(decision.slots.get("names") or ([decision.slots["name"]] if decision.slots.get("name") else []))
    if not names:
        names = [artifact.name for artifact in app.pipeline.artifacts()[:2]]
    if len(names) < 2:
        raise UsageError("Two artifacts are needed to compare.", "`lqmf test list` shows what there is.")
    document = await app.pipeline.compare(names)
    return Outcome(document, comparison_view(document))
