"""`lqmf quantize`: the main job, from a model to a measured artifact."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from lqmf.cli import gating, options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Feedback, Outcome, to_json

if TYPE_CHECKING:
    from lqmf.agents.planner_agent import Planned
    from lqmf.app import App
    from lqmf.pipeline import Quantized
    from lqmf.records import Advice, Artifact, Choice

COMMAND = Command(
    "quantize",
    "make a quantized model, and measure it",
    intents=("quantize",),
    examples=(
        "lqmf quantize demo --type Q4_K_M",
        "lqmf quantize org/name --bits 4 --memory 8GB --device gpu --yes",
        "lqmf quantize ./my-model --type Q5_K_M,Q8_0 --test comprehensive",
        "lqmf quantize org/name --type auto --target-size 4.2GB",
        "lqmf quantize demo --type Q4_K_M --yes --json",
    ),
    order=10,
)
FIELDS = ("name", "path", "method", "bits", "type", "size_bytes", "source_size_bytes", "compression_ratio", "receipt")


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
    imatrix: options.Imatrix = None,
    calibration: options.Calibration = None,
    keep: options.KeepTypes = None,
    discard_source: options.DiscardSource = None,
    adapter: options.Adapter = None,
    settings: options.Settings = None,
    purpose: options.Purpose = None,
    cpu_fallback: options.Fallback = None,
    keep_16bit: options.Keep = None,
    test: options.Test = None,
    gate: gating.Gate = None,
) -> Decision:
    """Quantize MODEL: plan, download, convert, quantize and measure. What is left open is asked, or with --yes chosen.

    The result lies in quantized-models/, with a manifest, a receipt of how good it is, and a model card."""
    gating.refuse_unmeasured(gate, test)
    return options.typed(
        "quantize",
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
        keep_16bit=keep_16bit,
        test=test,
        gate=gate or None,
    )


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Plan, show the plan, carry it out, show what came of it."""
    made = await app.pipeline.quantize(decision, ask, Announcing(ask))
    code = gating.exit_code((artifact.receipt for artifact in made.artifacts), asked=bool(decision.slots.get("gate")))
    return dataclasses.replace(outcome(made), exit_code=code)


class Announcing:
    """Shows a plan, and what was advised of it, each when it is new."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._choices: tuple[Choice, ...] = ()
        self._advice: Advice | None = None

    def __call__(self, planned: Planned) -> None:
        """Show what of `planned` was not shown before."""
        from lqmf.cli.views.advice import advice_view
        from lqmf.cli.views.plans import plan_view

        advice = planned.request.advice
        if advice is not None and advice != self._advice:
            self._ask.show(advice_view(advice))
        if planned.plan.choices != self._choices:
            self._ask.show(plan_view(planned.plan))
        self._choices, self._advice = planned.plan.choices, advice


def outcome(made: Quantized) -> Outcome:
    """The document and the view of what was made. Of several nothing is proposed: there is enough to choose from."""
    from lqmf.cli import next_step
    from lqmf.cli.views.artifacts import made_view

    artifacts, feedback = [document(artifact) for artifact in made.artifacts], closing(made)
    data = {
        "status": "done",
        "artifacts": artifacts,
        "job": made.jobs[0],
        "jobs": list(made.jobs),
        "artifact": artifacts[0],
        "receipt": artifacts[0]["receipt"],
        "feedback": next_step.document(feedback),
    }
    return Outcome(data, made_view(made.artifacts, feedback), proposal=feedback.proposal)


def closing(made: Quantized) -> Feedback:
    """What is said at the end."""
    if len(made.feedback) == 1:
        return made.feedback[0]
    return Feedback(tuple(sentence for each in made.feedback for sentence in each.sentences))


def document(artifact: Artifact) -> dict[str, Any]:
    """An artifact as the design's JSON has it."""
    record = to_json(artifact)
    return {name: record[name] for name in FIELDS}
