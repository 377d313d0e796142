"""`lqmf plan`: what would be made and what it would cost; nothing is done, nothing asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome, to_json

if TYPE_CHECKING:
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
        cpu_fallback=cpu_fallback,
    )


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """The plan, with everything open at its recommended value, and what else there is to choose; where no model was
    named, what size of model fits."""
    if not decision.slots.get("model"):
        return await _sizes(app, decision)
    from rich.console import Group

    from lqmf.cli.ask import never_asking
    from lqmf.cli.views.fit import answer_view, fit_view
    from lqmf.cli.views.plans import plan_view

    planned = await app.pipeline.plan(decision, never_asking(ask))
    plans = [to_json(one.plan) for one in planned]
    solution = planned[0].solution
    data = {"status": "planned", "plan": plans[0], "plans": plans, "fits": solution.recommended is not None}
    data["ways_out"] = list(solution.ways_out)
    views = []
    for one in planned:
        views.append(answer_view(str(decision.slots["model"]), one.solution))
        if one.solution.recommended is not None:
            views.append(plan_view(one.plan))
        views.append(fit_view(one.solution, beside_plan=True))
    return Outcome(data, Group(*views))


async def _sizes(app: App, decision: Decision) -> Outcome:
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
    return Outcome({"status": "sizes", "sizes": sizes}, sizes_view(found))
