"""`lqmf preflight`: can it be done here, what will it cost, and what will fit? No weights are fetched, nothing asked.

The JSON document: `{"status": "possible"/"impossible", "model", "findings": [{"name", "answer", "detail", "remedy"}],
"methods": {method: {"answer", "reason", "remedy"}}, "published", "estimate", "fit"}`. `answer` is yes, no, but or
unknown; a no makes it impossible, exit 1. `published` lists GGUFs on the Hub, null where it was not asked; `estimate`
is what quantizing costs; `fit` has `recommended` (a candidate), `why`, `best` (five at most), `least` and `ways_out`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome, to_json

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.planning.preflight import Preflight

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
FIT = ("recommended", "why", "best", "least", "ways_out")


def cli(
    model: options.Model,
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
) -> Decision:
    """Say of MODEL, before its weights are fetched, whether it can be quantized here, what that costs, and which ways
    to run it fit this machine. Every no comes with a way out. Exit 1 when it cannot be done."""
    return options.typed(
        "preflight",
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
    )


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Look at everything, and say it on one screen."""
    from lqmf.cli.ask import never_asking
    from lqmf.cli.views.preflight import preflight_view

    found = await app.pipeline.preflight(decision, never_asking(ask))
    return Outcome(
        document(found), preflight_view(found, options=len(decision.slots) > 1), exit_code=0 if found.possible else 1
    )


def document(found: Preflight) -> dict[str, Any]:
    """The preflight as JSON has it: of all that could be run, only what is worth choosing between."""
    solution = found.solution
    return {
        "status": "possible" if found.possible else "impossible",
        "model": found.model,
        "findings": to_json(found.findings),
        "methods": to_json(found.methods),
        "published": to_json(found.published),
        "estimate": to_json(found.estimate),
        "fit": {name: to_json(getattr(solution, name)) for name in FIT} if solution else None,
    }
