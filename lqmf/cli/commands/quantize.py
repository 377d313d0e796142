"""`lqmf quantize`: the main job, from a model to a measured artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import gating, options
from lqmf.cli.command import Command
from lqmf.operations.options import mixed_bits
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.quantize import Quantized

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
        **mixed_bits(bits, type),
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


def view(made: Quantized) -> RenderableType:
    """What was made, and what can be done next."""
    from lqmf.cli.views.artifacts import made_view

    return made_view(made.artifacts, made.feedback)
