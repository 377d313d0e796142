"""`lqmf plan`: what would be made and what it would cost; nothing is done, nothing asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome, to_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.agents.planner_agent import Planned
    from lqmf.app import App

COMMAND = Command(
    "plan",
    "what would be made and what it would cost; nothing is done",
    intents=("plan",),
    examples=("lqmf plan demo", "lqmf plan org/name --memory 8GB --device gpu", "lqmf plan --memory 8GB --device gpu"),
    order=20,
)


def cli(
    model: options.Model = None,
    method: options.Method = None,
    type: options.Type = None,
    bits: options.Bits = None,
    device: options.Device = None,
    memory: options.Memory = None,
    ram: options.Ram = None,
    context: options.ContextLength = None,
    kv_type: options.KvType = None,
    parallel: options.Parallel = None,
    target_size: options.TargetSize = None,
    priority: options.Priority = None,
    imatrix: options.Imatrix = None,
    calibration: options.Calibration = None,
    keep: options.KeepTypes = None,
    discard_source: options.DiscardSource = None,
    adapter: options.Adapter = None,
    settings: options.Settings = None,
    purpose: options.Purpose = None,
    cpu_fallback: options.Fallback = None,
) -> Decision:
    """Show the plan for MODEL: every choice with its reason, sizes and memory. Nothing is asked, no weights fetched.

    Without MODEL, say what size of model fits."""
    return options.typed(
        "plan",
        model=model,
        method=method,
        **options.mixed_bits(bits, type),
        device=device,
        memory_gb=memory,
        ram_gb=ram,
        context=context,
        kv_type=kv_type,
        parallel=parallel,
        target_size_gb=target_size,
        priority=priority,
        imatrix=imatrix,
        calibration=calibration,
        keep=keep or None,
        discard_source=discard_source or None,
        adapter=adapter,
        parameters=options.settings(settings),
        purpose=purpose,
        cpu_fallback=cpu_fallback,
    )


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """The plan, with everything open at its recommended value, and what else there is to choose; where no model was
    named, what size of model fits."""
    if not decision.slots.get("model"):
        return await _sizes(app, decision, ask)
    from rich.console import Group

    from lqmf.cli.ask import never_asking

    model = str(decision.slots["model"])
    by_rules: list[Planned] = []

    def announce(one: Planned) -> None:
        """The rules' plan is shown at once; what is advised then comes with the outcome."""
        if one.request.advice is None:
            by_rules.append(one)
            ask.show(Group(*_views(model, one)))

    planned = await app.pipeline.plan(decision, never_asking(ask), announce)
    plans = [to_json(one.plan) for one in planned]
    solution = planned[0].solution
    data = {"status": "planned", "plan": plans[0], "plans": plans, "fits": solution.recommended is not None}
    data["ways_out"] = list(solution.ways_out)
    if (advice := planned[0].request.advice) is not None:
        data["advice"] = to_json(advice)
    shown = by_rules[0] if by_rules else None
    return Outcome(data, Group(*(view for one in planned for view in _views(model, one, shown))))


def _views(model: str, one: Planned, shown: Planned | None = None) -> list[RenderableType]:
    """The plan and what else there is to choose; of what is `shown` already only what was advised."""
    from lqmf.cli.views.advice import advice_view
    from lqmf.cli.views.fit import answer_view, fit_view
    from lqmf.cli.views.plans import plan_view

    views = [] if shown else [answer_view(model, one.solution)]
    if one.request.advice is not None:
        views.append(advice_view(one.request.advice))
    if shown is None or shown.plan.choices != one.plan.choices:
        views += [plan_view(one.plan)] if one.solution.recommended is not None else []
        views.append(fit_view(one.solution, beside_plan=True))
    return views


async def _sizes(app: App, decision: Decision, ask: Ask) -> Outcome:
    from lqmf.cli.views.advice import suggestions_view
    from lqmf.cli.views.fit import sizes_view

    found = await app.pipeline.classes(decision)
    sizes = [
        {
            "size": size.name,
            "like": size.like,
            "fits": solution.recommended is not None,
            "recommended": to_json(solution.recommended),
            "ways_out": list(solution.ways_out),
        }
        for size, solution in found.items()
    ]
    data, view = {"status": "sizes", "sizes": sizes}, sizes_view(found)
    if app.adviser is None:
        return Outcome(data, view)
    ask.show(view)
    named = await app.pipeline.suggestions(decision)
    return Outcome({**data, "suggestions": to_json(named)}, suggestions_view(named) if named else None)
