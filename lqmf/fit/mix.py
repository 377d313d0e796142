"""Describes a mix of types, chosen tensor by tensor, for the solver before it is made: its size, and its expected loss,
which is less than that of a preset of that size.

Pure. The backend chooses the mix later, on the weights; here it is a point between two presets.
"""

from __future__ import annotations

import dataclasses
import math

from lqmf.fit.fitting import Fitting
from lqmf.fit.needs import Needs, Weights
from lqmf.model_files.gguf_types import AUTO, OUTTYPES, TYPES
from lqmf.records import Loss

GAIN = 0.6  # of a preset's KL divergence at its size: what docs/measured/allocation.md found, rounded up


def with_mix(fit: Fitting, method: str, target_bytes: int) -> Fitting:
    """Return `fit` with one more type to choose: the mix whose file has `target_bytes`."""
    needs = fit.needs[method]
    low, high, part = _neighbours(needs, target_bytes)
    mixed = dataclasses.replace(needs, weights={**needs.weights, AUTO: _scaled(low, target_bytes)})

    def loss(method: str, type: str, k_type: str, v_type: str) -> Loss:
        if type != AUTO:
            return fit.loss(method, type, k_type, v_type)
        below, above = (fit.loss(method, one.type, k_type, v_type).kl_nats for one in (low, high))
        between = math.exp((1 - part) * math.log(below) + part * math.log(above)) if below and above else below
        return Loss(between * GAIN, f"{GAIN} of what a preset of that size loses, as LQMF measured on two small models")

    return dataclasses.replace(fit, needs={**fit.needs, method: mixed}, loss=loss, _solved={})


def target_bytes(needs: Needs, bits_per_weight: float) -> int:
    """Return the size in bytes of a file whose tensors take `bits_per_weight` bits a weight, all of them together."""
    half = needs.weights["F16"]
    tensors = half.input_bytes + sum(half.layers) + (0 if half.tied else half.output_bytes)
    return round(tensors * bits_per_weight / 16) + half.file_bytes - tensors


def bits_per_weight(needs: Needs, file_bytes: int) -> float:
    """Return the bits a weight of a file of `file_bytes`: the inverse of `target_bytes`."""
    return 16.0 * (file_bytes - target_bytes(needs, 0)) / (target_bytes(needs, 16) - target_bytes(needs, 0))


def _neighbours(needs: Needs, size: int) -> tuple[Weights, Weights, float]:
    """Return the presets just below and above `size`, and how far between them it lies (0..1)."""
    rows = sorted((w for w in needs.weights.values() if w.type in TYPES), key=lambda w: w.file_bytes)
    usual = [w for w in rows if TYPES[w.type].general and w.type not in OUTTYPES] or rows
    low = next((w for w in reversed(usual) if w.file_bytes <= size), usual[0])
    high = next((w for w in usual if w.file_bytes >= size), usual[-1])
    room = high.file_bytes - low.file_bytes
    return low, high, min(1.0, max(0.0, (size - low.file_bytes) / room)) if room else 0.0


def _scaled(preset: Weights, size: int) -> Weights:
    by = size / preset.file_bytes

    def scaled(count: int) -> int:
        return math.ceil(count * by)

    return dataclasses.replace(
        preset,
        type=AUTO,
        file_bytes=size,
        layers=tuple(map(scaled, preset.layers)),
        input_bytes=scaled(preset.input_bytes),
        output_bytes=scaled(preset.output_bytes),
        read={type: scaled(count) for type, count in preset.read.items()},
    )
