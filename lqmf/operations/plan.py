"""plan: what would be made and what it would cost; nothing is done, nothing asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lqmf.operations.asking import never_asking
from lqmf.operations.result import Result
from lqmf.records import QuantizationPlan, Request, Suggestion, to_json

if TYPE_CHECKING:
    from lqmf.agents.planner_agent import Planned
    from lqmf.app import App
    from lqmf.fit.classes import SizeClass
    from lqmf.fit.solver import Solution
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Plans(Result):
    """The plans for `model`, and what else there was to choose. `told` is what of them was shown in passing: the
    rules' own plan, while a provider was asked."""

    model: str
    planned: tuple[Planned, ...]
    told: Planned | None = None

    @property
    def plan(self) -> QuantizationPlan:
        """The plan, of several types the first's."""
        return self.planned[0].plan

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "planned", "plan": the first, "plans", "fits", "ways_out"}`, and "advice" where it was given."""
        plans = [to_json(one.plan) for one in self.planned]
        solution, advice = self.planned[0].solution, self.planned[0].request.advice
        data = {"status": "planned", "plan": plans[0], "plans": plans, "fits": solution.recommended is not None}
        data["ways_out"] = list(solution.ways_out)
        return data if advice is None else {**data, "advice": to_json(advice)}

    def __str__(self) -> str:
        return "\n\n".join("\n".join(_lines(self.model, one)) for one in self.planned)


@dataclass(frozen=True)
class Sizes(Result):
    """What size of model fits in the memory that is `assumed`, whether the size that was `asked` for does, and models
    that a provider names. `told`: the sizes were shown in passing; None for `suggestions`: nobody was asked."""

    sizes: Mapping[SizeClass, Solution]
    assumed: str = ""
    asked: SizeClass | None = None
    suggestions: tuple[Suggestion, ...] | None = None
    told: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "sizes", "sizes": [{"size", "like", "fits", "recommended", "ways_out"}], "assumed", "asked"}`,
        and "suggestions" where somebody was asked."""
        sizes = [
            {
                "size": size.name,
                "like": size.like,
                "fits": solution.recommended is not None,
                "recommended": to_json(solution.recommended),
                "ways_out": list(solution.ways_out),
            }
            for size, solution in self.sizes.items()
        ]
        asked = self.asked.name if self.asked else None
        data = {"status": "sizes", "sizes": sizes, "assumed": self.assumed, "asked": asked}
        return data if self.suggestions is None else {**data, "suggestions": to_json(self.suggestions)}


async def run(app: App, request: Request, ask: Ask) -> Plans | Sizes:
    """Plan with everything open at its recommended value; where no model was named, say what size of model fits.
    Raises LqmfError."""
    if not request.model:
        return await _sizes(app, request, ask)
    model = str(request.model)
    by_rules: list[Planned] = []

    def announce(found: Sequence[Planned]) -> None:
        """Show the rules' plan at once; what is advised then comes with the result."""
        if found[0].request.advice is None:
            by_rules.extend(found)
            ask.show(Plans(model, tuple(found)))

    planned = await app.planning.plan(request, never_asking(ask), announce)
    return Plans(model, tuple(planned), by_rules[0] if by_rules else None)


async def _sizes(app: App, request: Request, ask: Ask) -> Sizes:
    from lqmf.agents.planner_agent import size_asked

    sizes = await asyncio.to_thread(app.planning.classes, request)
    found = Sizes(sizes, app.planning.assumed(request), size_asked(request))
    if app.adviser is None:
        return found
    ask.show(found)
    return replace(found, suggestions=await app.planning.suggestions(request), told=True)


def _lines(model: str, one: Planned) -> list[str]:
    """Return a plan as plain text: what it makes of the model, then each choice with its reason."""
    fits = "" if one.solution.recommended else " (it does not fit this machine)"
    choices = [f"  {choice.name}: {choice.value}, {choice.reason}" for choice in one.plan.choices]
    return [f"{model} as {one.plan.type or one.plan.method}, {one.plan.bits} bits{fits}", *choices]
