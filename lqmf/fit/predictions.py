"""Compares an artifact's predictions, computed before it is made, with the values measured afterwards.

Knows the quantities by name, and where a receipt holds each. Knows no machine and no store. A quantity's name ends in
its unit: bytes, seconds, tokens per second, nats a token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lqmf.records import Compared, QuantizationPlan, Receipt
from lqmf.units import duration, file_size, memory_size, rate, small

LABELS: Mapping[str, str] = {
    "size_bytes": "size",  # of the file
    "peak_rss_bytes": "memory",  # of the process that runs it, mapped pages included
    "peak_gpu_bytes": "GPU memory",
    "prompt_tokens_per_second": "reading",
    "generation_tokens_per_second": "writing",
    "kl_nats": "KL divergence",  # a token, from the source
    "quantize_seconds": "time to quantize",
    "quantize_rss_bytes": "memory to quantize",
}
MISS = 0.1  # an error beyond it, in either direction, is a miss
DIGITS = 4  # of an error, so that 110 for 100 is 0.1 and no miss

Values = Mapping[str, float | None]


def observed(receipt: Receipt) -> dict[str, float | None]:
    """Return a receipt's value of each quantity; None was not measured. A receipt has no values of quantizing
    itself."""
    memory, speed = receipt.peak_memory_bytes or {}, receipt.tokens_per_second or {}
    return {
        "size_bytes": receipt.size_bytes,
        "peak_rss_bytes": memory.get("rss"),
        "peak_gpu_bytes": memory.get("gpu"),
        "prompt_tokens_per_second": speed.get("prompt"),
        "generation_tokens_per_second": speed.get("generation"),
        "kl_nats": receipt.kl_divergence.mean if receipt.kl_divergence else None,
    }


def is_of_time(quantity: str) -> bool:
    """Tell whether a quantity is a time or a speed, which other programs on the machine change."""
    return quantity.endswith(("_seconds", "_per_second"))


def compare(predicted: Values, measured: Values) -> dict[str, Compared]:
    """Compare each quantity that was both predicted (above 0) and measured; the others are left out."""
    return {
        name: _compared(told, found)
        for name, told in predicted.items()
        if isinstance(told, int | float)  # a manifest may say anything
        and 0 < told < math.inf
        and (found := measured.get(name)) is not None
        and math.isfinite(found)
    }


def _compared(predicted: float, measured: float) -> Compared:
    error = round(measured / predicted - 1, DIGITS)
    return {"predicted": predicted, "measured": measured, "error": error, "missed": abs(error) > MISS}


def rows(
    receipt: Receipt,
    plan: QuantizationPlan,
    *,
    architecture: str | None,
    machine: str,
    uncorrected: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Return a receipt's predictions as rows for the store, one row for each quantity. `device` is where the artifact
    ran.

    `uncorrected` holds the predictions before any learnt correction, where they differ. To learn from corrected
    predictions alone would undo half of each correction.
    """
    about = {
        "model": plan.model.id,
        "architecture": architecture,
        "method": plan.method,
        "type": plan.type or f"{plan.bits}bit",
        "device": "gpu" if (receipt.measured_on or {}).get("gpu") else "cpu",
        "machine": machine,
    }
    raw = uncorrected or {}
    return [
        {**about, "quantity": name, "predicted": each["predicted"], "measured": each["measured"]}
        | {"uncorrected": raw.get(name, each["predicted"])}
        for name, each in receipt.prediction.items()
    ]


def amount(quantity: str, value: float) -> str:
    """Write a quantity in the unit that its name ends in; the file is counted as files are, all else as memory is."""
    if quantity == "size_bytes":
        return file_size(value)
    if quantity.endswith("tokens_per_second"):
        return f"{rate(value)} tokens/s"
    units = {"bytes": memory_size, "seconds": duration, "nats": small}
    write = units.get(quantity.rsplit("_", 1)[-1])
    return write(value) if write else f"{value:.6g}"


def percent(error: float, sign: str = "") -> str:
    """Write an error for people: "0.3 %", "12 %"; with `sign` "+" positive errors get a plus."""
    digits = 1 if abs(error) < 0.00995 else 0
    return f"{error * 100:{sign}.{digits}f} %"
