"""Needs of models that people run, by formula from their published shapes: what a backend would say of them, nearly.

Weights: every matrix of a layer at the nominal bits of its type, the two ends at their own; no norms. Cache: 2 x KV
heads x head size x tokens a layer, at 16, 8.5 or 4.5 bits; a sliding layer keeps its window and a batch. Buffers: the
activations of a batch and its attention scores, growing with the context. Shapes are those of the models' published
configurations; "dense-30b" is that of Qwen2.5 32B.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lqmf.fit.fitting import Fitting
from lqmf.fit.needs import Needs, Sample, Weights
from lqmf.fit.quality import expected_loss
from lqmf.model_files.gguf_types import LAYOUTS, TYPES

GIB = 1 << 30
CACHE_BITS = {"f16": 16.0, "q8_0": 8.5, "q4_0": 4.5}
UBATCHES = (512, 128)
USUAL = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q4_0", "Q3_K_M", "IQ3_S", "Q2_K")


@dataclass(frozen=True)
class Model:
    """A shape: `ffn` is one expert's width, of `experts`, of which `active` work at once; `gates` is 3 where the
    feed-forward has a gate, else 2. Every `global_every`-th layer sees all tokens, the others the last `window`."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    ffn: int
    vocabulary: int
    trained: int
    tied: bool = False
    experts: int = 1
    active: int = 1
    gates: int = 3
    window: int | None = None
    global_every: int = 1

    @property
    def attention(self) -> int:
        """Weights of one layer's attention."""
        return 2 * self.width * self.heads * self.head + 2 * self.width * self.kv_heads * self.head

    @property
    def expert(self) -> int:
        """Weights of one expert of one layer."""
        return self.gates * self.width * self.ffn

    @property
    def parameters(self) -> int:
        """All weights."""
        ends = (1 if self.tied else 2) * self.vocabulary * self.width
        return ends + self.layers * (self.attention + self.experts * self.expert)


MODELS = {
    "llama-8b": Model(32, 4096, 32, 8, 128, 14336, 128256, 131072),
    "mistral-7b": Model(32, 4096, 32, 8, 128, 14336, 32768, 32768),
    "qwen3-30b-a3b": Model(48, 2048, 32, 4, 128, 768, 151936, 40960, experts=128, active=8),
    "gemma3-12b": Model(48, 3840, 16, 8, 256, 15360, 262208, 131072, tied=True, window=1024, global_every=6),
    "gpt2": Model(12, 768, 12, 12, 64, 3072, 50257, 1024, tied=True, gates=2),
    "llama-1b": Model(16, 2048, 32, 8, 64, 8192, 128256, 131072, tied=True),
    "dense-30b": Model(64, 5120, 40, 8, 128, 27648, 152064, 32768),
    "llama-70b": Model(80, 8192, 64, 8, 128, 28672, 128256, 131072),
}


def needs(
    model: Model,
    types: tuple[str, ...] = USUAL,
    contexts: tuple[int, ...] = (512, 2048, 4096, 8192, 16384, 32768),
    parallel: int = 1,
    ubatches: tuple[int, ...] = UBATCHES,
) -> Needs:
    """What `model` needs, at the contexts that it was trained for."""
    sampled = tuple(context for context in contexts if context <= model.trained) or (model.trained,)
    if model.trained < contexts[-1] and model.trained not in sampled:
        sampled += (model.trained,)
    return Needs(
        method="gguf",
        origin="formula",
        trained_context=model.trained,
        parallel=parallel,
        weights={name: weights(model, name) for name in types},
        samples=tuple(
            _sample(model, context * parallel, context, cache, ubatch)
            for context in sampled
            for cache in CACHE_BITS
            for ubatch in ubatches
        ),
        layer_shares=_shares(model),
    )


def weights(model: Model, name: str) -> Weights:
    """`model` as the type called `name`."""
    body, layout = TYPES[name].bits_per_weight, LAYOUTS[name]

    def size(count: int, bits: float) -> int:
        return int(count * bits / 8)

    layer = size(model.attention + model.experts * model.expert, body)
    embedding = size(model.vocabulary * model.width, layout.output_bits if model.tied else layout.embedding_bits)
    output = size(model.vocabulary * model.width, layout.output_bits)
    return Weights(
        type=name,
        bits=TYPES[name].bits,
        file_bytes=layer * model.layers + embedding + (0 if model.tied else output),
        layers=(layer,) * model.layers,
        input_bytes=embedding,
        output_bytes=output,
        tied=model.tied,
        read={name: size(model.attention + model.active * model.expert, body) * model.layers, "output": output},
    )


def _cells(model: Model, cells: int, ubatch: int) -> list[int]:
    """Tokens that each layer keeps."""
    window = cells if model.window is None else min(cells, model.window + ubatch)
    return [cells if layer % model.global_every == model.global_every - 1 else window for layer in range(model.layers)]


def _shares(model: Model) -> tuple[float, ...]:
    kept = _cells(model, 8192, 512)
    return tuple(cells / sum(kept) for cells in kept)


def _sample(model: Model, cells: int, context: int, cache: str, ubatch: int) -> Sample:
    row = sum(_cells(model, cells, ubatch)) * model.kv_heads * model.head
    side = int(row * CACHE_BITS[cache] / 8)
    compute = 4 * ubatch * (6 * model.width + 2 * model.ffn * model.active) + 2 * ubatch * cells
    return Sample(context, cache, ubatch, side, side, 0, compute, 4 * model.vocabulary)


def fitting(shape: Model = MODELS["gpt2"], parallel: int = 1) -> Fitting:
    """What a model of that shape needs, on a machine whose speed nobody has measured."""
    return Fitting(
        {"gguf": needs(shape, tuple(TYPES), parallel=parallel)},
        Path(),
        loss=lambda method, type, k_type, v_type: expected_loss(type, k_type, v_type),
        pace=lambda needs, weights, run: None,
        rss=lambda needs, weights, run: weights.file_bytes,
    )
