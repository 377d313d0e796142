"""`lqmf plan`: what would be made and what it would cost; nothing is done, nothing asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

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
        return Group(*_parts(found))
    if not found.told:
        return sizes_view(found.sizes, found.assumed, found.asked)
    return suggestions_view(found.suggestions) if found.suggestions else None


def follow(before: Plans | Sizes, found: Plans | Sizes) -> RenderableType | None:
    """What a plan changes of the one before it in a dialogue; None where they have too little in common."""
    from rich.console import Group

    from lqmf.cli.views.fit import answer_view
    from lqmf.cli.views.plans import changes_view
    from lqmf.operations.plan import Plans

    if not isinstance(before, Plans) or not isinstance(found, Plans) or found.told or before.model != found.model:
        return None
    if len(before.planned) + len(found.planned) > 2:
        return None
    then, now = before.planned[0], found.planned[0]
    if then.solution.recommended is None or now.solution.recommended is None or now.request.advice is not None:
        return None
    return Group(answer_view(found.model, now.solution, now.request.said.context), changes_view(then.plan, now.plan))


def _parts(found: Plans) -> list[RenderableType]:
    """The plans and what else there is to choose; of what was told already only what was advised."""
    from lqmf.cli.views.advice import advice_view
    from lqmf.cli.views.fit import answer_view, fit_view
    from lqmf.cli.views.plans import plans_view

    first, told = found.planned[0], found.told
    views = [] if told else [answer_view(found.model, one.solution, one.request.said.context) for one in found.planned]
    if first.request.advice is not None:
        views.append(advice_view(first.request.advice))
    if told is not None and told.plan.choices == first.plan.choices:
        return views
    fitting = [one.plan for one in found.planned if one.solution.recommended is not None]
    views += [plans_view(fitting)] if fitting else []
    several = len(found.planned) > 1
    shown = [one for one in found.planned if not several or one.solution.recommended is None]
    return views + [fit_view(one.solution, one.request.said.context, beside_plan=True) for one in shown]
