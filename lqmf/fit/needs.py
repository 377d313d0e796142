"""Defines a model's needs, by type, context and cache: the table that the solver searches.

A backend makes it (`Backend.needs`), by llama.cpp's own arithmetic or by formula; it is plain data, kept as JSON. Knows
no machine and no wish. All sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

CACHE_TYPES = ("f16", "q8_0", "q4_0")  # from the least loss to the least memory
MOST_CHATS = 256  # LLAMA_MAX_SEQ in llama.cpp's llama-cparams.h


@dataclass(frozen=True)
class Weights:
    """The weights as one type. `layers` are the repeating layers in order; `input_bytes` the token embedding and other
    tensors before the layers (they stay in RAM); `output_bytes` the final norm and the head. With `tied`, the head is
    the embedding: no more bytes in RAM or in the file, but a GPU that computes the head holds a copy.

    `read` is the bytes that one token reads, by tensor type ("q4_K"): every layer and the head, of experts those that
    are used. `chosen` is the part of these bytes that lies in experts, and `head` the type of the head; empty where
    neither is known.
    """

    type: str
    bits: int
    file_bytes: int
    layers: tuple[int, ...]
    input_bytes: int
    output_bytes: int
    tied: bool
    read: Mapping[str, int]
    chosen: Mapping[str, int] = field(default_factory=dict)
    head: str = ""

    @cached_property
    def read_bytes(self) -> int:
        """Return the bytes of weights that one token reads."""
        return sum(self.read.values())

    def on_gpu(self, gpu_layers: int) -> int:
        """Return the bytes of weights that lie on a GPU: the last layers; the head counts as one more layer and goes
        first."""
        if gpu_layers <= 0:
            return 0
        repeating = min(gpu_layers - 1, len(self.layers))
        return self.output_bytes + sum(self.layers[len(self.layers) - repeating :])

    def in_ram(self, gpu_layers: int) -> int:
        """Return the bytes of weights that lie in RAM."""
        head = 0 if self.tied or gpu_layers > 0 else self.output_bytes
        repeating = max(0, min(gpu_layers - 1, len(self.layers)))
        return self.input_bytes + head + sum(self.layers[: len(self.layers) - repeating])


@dataclass(frozen=True)
class Sample:
    """The memory that one context takes: `context` tokens for each chat, cached as `cache_type` (keys and values
    alike).

    `state_bytes` does not grow with the context (recurrent layers). `compute_bytes` are the buffers of a batch of
    `ubatch` tokens, `output_bytes` the logits kept.
    """

    context: int
    cache_type: str
    ubatch: int
    k_bytes: int
    v_bytes: int
    state_bytes: int
    compute_bytes: int
    output_bytes: int


@dataclass(frozen=True)
class Needs:
    """A model's needs for `parallel` chats. `origin` names the source of the arithmetic: "llama.cpp 0.3.36", or
    "formula".

    `layer_shares` is each layer's part of the cache (they sum to 1); `nodes` the operations of one token's graph;
    `attention` the multiply-adds of one token's attention for each token in the cache, all layers together. `notes`
    tell of the model, `refusals` why nothing could be found out of it.
    """

    method: str
    origin: str
    trained_context: int | None
    parallel: int
    weights: Mapping[str, Weights]
    samples: tuple[Sample, ...]
    layer_shares: tuple[float, ...]
    nodes: int = 0
    attention: int = 0
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    mixed_cache: bool = True  # whether keys and values may be cached as different types
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the method's own, what this model takes unless said
    splits: bool = True  # whether some layers may lie on a GPU and others in RAM

    @property
    def layers(self) -> int:
        """Return the number of repeating layers."""
        return len(self.layer_shares)

    @cached_property
    def ubatches(self) -> tuple[int, ...]:
        """Return the batch sizes in tokens that were sampled with every cache type, largest first."""
        sampled = {sample.ubatch for sample in self.samples}
        whole = {ubatch for ubatch in sampled if all((name, ubatch) in self._rows for name in self.cache_types)}
        return tuple(sorted(whole, reverse=True))

    @cached_property
    def cache_types(self) -> tuple[str, ...]:
        """Return the cache types that were sampled, best first."""
        return tuple(name for name in CACHE_TYPES if any(s.cache_type == name for s in self.samples))

    @cached_property
    def contexts(self) -> tuple[int, ...]:
        """Return the context lengths in tokens that were sampled, shortest first."""
        return tuple(sorted({sample.context for sample in self.samples}))

    @cached_property
    def _rows(self) -> Mapping[tuple[str, int], tuple[Sample, ...]]:
        rows: dict[tuple[str, int], list[Sample]] = {}
        for sample in sorted(self.samples, key=lambda s: s.context):
            rows.setdefault((sample.cache_type, sample.ubatch), []).append(sample)
        return {key: tuple(found) for key, found in rows.items()}

    def cache_bytes(self, context: int, k_type: str, v_type: str, ubatch: int) -> int:
        """Return the bytes of keys, values and state of all chats, with `context` tokens for each."""
        keys, values = self._at(context, k_type, ubatch), self._at(context, v_type, ubatch)
        return keys.k_bytes + values.v_bytes + keys.state_bytes

    def compute_bytes(self, context: int, k_type: str, v_type: str, ubatch: int) -> int:
        """Return the bytes of the buffers of the computation and its output; for a mixed cache the larger of the two
        types' own."""
        either = {self._at(context, name, ubatch) for name in (k_type, v_type)}
        return max(sample.compute_bytes + sample.output_bytes for sample in either)

    def output_bytes(self, context: int, k_type: str, v_type: str, ubatch: int) -> int:
        """Return the part of `compute_bytes` that holds the output: it lies in RAM wherever the layers are."""
        return max(self._at(context, name, ubatch).output_bytes for name in (k_type, v_type))

    def cache_on_gpu(self, cache_bytes: int, gpu_layers: int) -> int:
        """Return the part of `cache_bytes` that lies with the layers on a GPU."""
        repeating = max(0, min(gpu_layers - 1, self.layers))
        return round(cache_bytes * sum(self.layer_shares[self.layers - repeating :]))

    def _at(self, context: int, cache_type: str, ubatch: int) -> Sample:
        """Return the sample at `context`, or the line through the two nearest samples. Buffers grow by lines, or by the
        larger of two lines: between two samples the line is never too low. Raises KeyError for a type or batch not
        sampled."""
        row = self._rows[cache_type, ubatch]
        exact = next((sample for sample in row if sample.context == context), None)
        if exact or len(row) == 1:
            return exact or row[0]
        after = next((i for i, sample in enumerate(row) if sample.context > context), len(row) - 1)
        low, high = row[max(0, after - 1)], row[max(1, after)]
        return _between(low, high, context)


def _between(low: Sample, high: Sample, context: int) -> Sample:
    part = (context - low.context) / (high.context - low.context)

    def line(name: str) -> int:
        start, end = int(getattr(low, name)), int(getattr(high, name))
        return max(0, round(start + part * (end - start)))

    grown = {name: line(name) for name in ("k_bytes", "v_bytes", "state_bytes", "compute_bytes", "output_bytes")}
    return Sample(context, low.cache_type, low.ubatch, **grown)
