"""`lqmf plan`: what would be made and what it would cost; nothing is done, nothing asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.agents.planner_agent import Planned
    from lqmf.operations.plan import Plans, Sizes

COMMAND = Command(
    "plan",
    "what would be made and what it would cost; nothing is done",
    intents=("plan",),
    examples=("lqmf plan demo", "lqmf plan org/name --memory 8GB --device gpu", "lqmf plan --memory 8GB --device gpu"),
    order=20,
)


@options.of_request("plan", model_required=False)
def cli(decision: Decision) -> Decision:
    """Show the plan for MODEL: every choice with its reason, sizes and memory. Nothing is asked, no weights fetched.

    Without MODEL, say what size of model fits."""
    return decision


def view(found: Plans | Sizes) -> RenderableType | None:
    """The plans and what else there is to choose; or what size of model fits. Of what was told already only what is
    new."""
    from rich.console import Group

    from lqmf.cli.views.advice import suggestions_view
    from lqmf.cli.views.fit import sizes_view
    from lqmf.operations.plan import Sizes

    if not isinstance(found, Sizes):
        return Group(*(part for one in found.planned for part in _parts(found.model, one, found.told)))
    if not found.told:
        return sizes_view(found.sizes, found.assumed, found.asked)
    return suggestions_view(found.suggestions) if found.suggestions else None


def _parts(model: str, one: Planned, told: Planned | None) -> list[RenderableType]:
    """The plan and what else there is to choose; of what was `told` already only what was advised."""
    from lqmf.cli.views.advice import advice_view
    from lqmf.cli.views.fit import answer_view, fit_view
    from lqmf.cli.views.plans import plan_view

    views = [] if told else [answer_view(model, one.solution)]
    if one.request.advice is not None:
        views.append(advice_view(one.request.advice))
    if told is None or told.plan.choices != one.plan.choices:
        views += [plan_view(one.plan)] if one.solution.recommended is not None else []
        views.append(fit_view(one.solution, beside_plan=True))
    return views
