"""`lqmf preflight`: can it be done here, what will it cost, and what will fit? No weights are fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.operations.options import mixed_bits
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.preflight import Examined

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
        **mixed_bits(bits, type),
        device=device,
        memory_gb=memory,
        ram_gb=ram,
        context=context,
        kv_type=kv_type,
        parallel=parallel,
        target_size_gb=target_size,
        priority=priority,
    )


def view(found: Examined) -> RenderableType:
    """Everything that was found, on one screen."""
    from lqmf.cli.views.preflight import preflight_view

    return preflight_view(found.found, options=found.narrowed)
