"""What may be said of a model that is wanted, by name, and the request that it comes to. Knows no command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from lqmf.errors import UsageError
from lqmf.records import Request
from lqmf.understanding.slot_table import settled
from lqmf.workspace import nearest


class Options(TypedDict, total=False):
    """What may be said of a quantized model that is wanted; what is left out is chosen, and the plan says why.

    `memory_gb` and `ram_gb` count in powers of 1024, `target_size_gb` in powers of 1000; `context` is in tokens, of
    each of `parallel` chats; `type` may be several; `parameters` are a method's own settings ({"group_size": "64"}).
    """

    method: str
    type: str | Sequence[str]
    bits: float
    device: Literal["cpu", "gpu"]
    memory_gb: float
    ram_gb: float
    context: int
    kv_type: str
    parallel: int
    target_size_gb: float
    priority: Literal["quality", "speed", "size"]
    imatrix: bool
    calibration: str
    keep: Sequence[str]
    discard_source: bool
    adapter: str
    parameters: Mapping[str, str]
    purpose: Literal["finetune"]
    cpu_fallback: bool
    keep_16bit: bool
    test: Literal["none", "quick", "comprehensive"]


def request(intent: str, model: str, options: Mapping[str, Any]) -> Request:
    """Return what a program asks for. Raises UsageError for an option that there is not."""
    for name in options:
        if name not in Options.__annotations__:
            guess = nearest(name, list(Options.__annotations__))
            known = f"Did you mean '{guess}'?" if guess else f"There are {', '.join(Options.__annotations__)}."
            raise UsageError(f"There is no option '{name}'.", known)
    return Request.of({"model": model, **settled(options)}, intent, exact=True)
