"""`lqmf plan`: what would be made and what it would cost; nothing is done, nothing asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options, planning
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome, to_json

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "plan",
    "what would be made and what it would cost; nothing is done",
    intents=("plan",),
    examples=("lqmf plan demo", "lqmf plan org/name --memory 8GB --device gpu", "lqmf plan demo --bits 5 --json"),
    order=20,
)


def cli(
    model: options.Model,
    method: options.Method = None,
    type: options.Type = None,
    bits: options.Bits = None,
    device: options.Device = None,
    memory: options.Memory = None,
    context: options.ContextLength = None,
    target_size: options.TargetSize = None,
    priority: options.Priority = None,
    cpu_fallback: options.Fallback = None,
) -> Decision:
    """Show the plan for MODEL: every choice with its reason, sizes and memory. No weights are fetched."""
    return options.typed(
        "plan",
        model=model,
        method=method,
        type=type,
        bits=planning.whole_bits(bits),
        device=device,
        memory_gb=memory,
        context=context,
        target_size_gb=target_size,
        priority=priority,
        cpu_fallback=cpu_fallback,
    )


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """The plan, with everything open at its recommended value."""
    from rich.console import Group

    from lqmf.cli.ask import never_asking
    from lqmf.cli.views.plans import plan_view

    planned = await app.pipeline.plan(decision, never_asking(ask))
    plans = [to_json(one.plan) for one in planned]
    data = {"status": "planned", "plan": plans[0], "plans": plans}
    return Outcome(data, Group(*(plan_view(one.plan) for one in planned)))
