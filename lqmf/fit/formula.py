"""Computes a model's needs by formula: for methods other than GGUF, and where llama.cpp cannot be asked.

The input is a config and the shapes of the tensors alone. Weights follow what the libraries write (checked against
them: docs/measured/fit-formulas.md); the cache is exact (`lqmf.model_files.config`); the buffers of the computation are
an estimate, and the notes say so. Pure. Knows no machine and no wish.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lqmf.errors import UsageError
from lqmf.fit.needs import CACHE_TYPES, Needs, Sample, Weights
from lqmf.model_files import config as geometry
from lqmf.model_files.config import Config
from lqmf.model_files.gguf_types import LAYOUTS, TYPES
from lqmf.model_files.safetensors_header import TensorShape
from lqmf.model_files.tensor_types import TENSOR_TYPES

ORIGIN = "formula"
APPROXIMATE = "The buffers of the computation are an estimate from the model's shapes, not a measurement."

_UBATCHES = (512, 128)
_SHORTEST, _LONGEST = 512, 131072  # contexts
_TYPICAL_CONTEXT = 8192  # at which the layers' shares of the cache are taken
_HALF, _FLOAT = 2, 4  # bytes of a 16-bit and of a 32-bit float
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block|layer)\.(\d+)\.")
_TOWER = re.compile(r"vision|visual|audio|image|multi_modal")
# Types of blocks of 256 give way to others where a row is no multiple of that (llama.cpp's llama-quant.cpp): up to so
# many bits a weight to IQ4_NL, Q5_0, Q5_1 and Q8_0. Types whose name is a tensor's and whose blocks are shorter stay.
_LONG_BLOCK = 256
_FALLBACKS = ((4.4, 4.5), (5.0, 5.5), (6.2, 6.0), (8.0, 8.5))
_NARROW = frozenset(kind.name for kind in TENSOR_TYPES.values() if kind.block < _LONG_BLOCK)
_MOST_NARROW_BITS = 6.0  # of theirs below Q8_0: more is a head as Q6_K
_EMBEDDING = re.compile(r"(embed_tokens|word_embeddings|wte|wpe|embeddings?)\.weight$")
_HEAD = re.compile(r"(^|\.)(lm_head|output|embed_out)\.weight$")


@dataclass(frozen=True)
class Stored:
    """A tensor as it is stored: its bytes in the file and in memory, and its type's name."""

    bytes: int
    kind: str


@dataclass(frozen=True)
class TensorRule:
    """The rule by which a type stores the tensors of a model. With `unpacks`, a matrix is unpacked to 16 bits to be
    used."""

    bits: int
    stored: Callable[[TensorShape], Stored]
    unpacks: bool = False


# ---------------------------------------------------------------- rules


def plain(kind: str) -> TensorRule:
    """Return the rule that stores every tensor as "f16", "bf16" or "f32". Raises UsageError for other types."""
    sizes = {"f16": 2, "bf16": 2, "f32": 4}
    if kind not in sizes:
        raise UsageError(f"There is no plain type called '{kind}'.", f"Choose one of: {', '.join(sizes)}.")
    return TensorRule(sizes[kind] * 8, lambda tensor: Stored(tensor.elements * sizes[kind], kind))


def bnb_4bit(kind: str = "nf4", *, double: bool = False) -> TensorRule:
    """Return the rule of bitsandbytes "nf4" or "fp4".

    The linear layers are packed, with a 32-bit scale for every 64 weights; with `double`, the scales are bytes with a
    32-bit scale for every 256 of them. Embeddings, head, norms, fused experts and layers whose outputs are no multiple
    of 32 stay 16-bit.
    """

    def stored(tensor: TensorShape) -> Stored:
        if not linear(tensor) or ".experts." in tensor.name or tensor.shape[0] % 32:
            return other_weights(tensor)
        blocks = -(-tensor.elements // 64)
        scales = blocks + 4 * -(-blocks // 256) + 4 * 256 if double else 4 * blocks
        return Stored(-(-tensor.elements // 2) + scales + 4 * 16 + (170 if double else 80), kind)

    return TensorRule(4, stored, unpacks=True)


def bnb_int8() -> TensorRule:
    """Return the rule of bitsandbytes LLM.int8(): a byte a weight and a 32-bit scale for every row. Embeddings, head,
    norms and fused experts stay 16-bit."""

    def stored(tensor: TensorShape) -> Stored:
        if not linear(tensor) or ".experts." in tensor.name:
            return other_weights(tensor)
        return Stored(tensor.elements + 4 * tensor.shape[0] + 1, "int8")

    return TensorRule(8, stored)


def gptq(bits: int, group: int = 128) -> TensorRule:
    """Return the rule of GPTQ.

    The linear layers are 32-bit words of packed weights, for every group of `group` inputs a 16-bit scale and a packed
    zero point for each output, and each input's group as 32 bits; `group` -1 is one group a matrix. Embeddings, head
    and norms stay 16-bit. Raises UsageError for bits other than 2, 3, 4 and 8.
    """
    if bits not in (2, 3, 4, 8):
        raise UsageError(f"GPTQ has no {bits}-bit type.", "Choose 2, 3, 4 or 8 bits.")

    def stored(tensor: TensorShape) -> Stored:
        if not linear(tensor):
            return other_weights(tensor)
        outputs, inputs = tensor.shape[-2:]
        matrices = tensor.elements // (outputs * inputs)
        groups = -(-inputs // group) if group > 0 else 1
        words = -(-inputs * bits // 32) * outputs + groups * -(-outputs * bits // 32) + inputs
        return Stored(matrices * (4 * words + _HALF * groups * outputs), f"gptq{bits}")

    return TensorRule(bits, stored, unpacks=True)


def gguf(type: str) -> TensorRule:
    """Return the rule of a GGUF type by its nominal bits: within some per cent of llama.cpp's choice tensor by tensor.

    Raises KeyError for an unknown type.
    """
    layout, kind = LAYOUTS[type], TYPES[type]
    name = re.sub(r"_K(_[SML])?$", "_K", type).lower().replace("_k", "_K")

    def stored(tensor: TensorShape) -> Stored:
        if len(tensor.shape) < 2:
            return Stored(tensor.elements * 4, "f32")
        bits = kind.bits_per_weight
        if _EMBEDDING.search(tensor.name):
            bits = layout.embedding_bits
        elif _HEAD.search(tensor.name):
            bits = layout.output_bits
        if tensor.shape[-1] % _LONG_BLOCK and (bits > _MOST_NARROW_BITS or type not in _NARROW):
            bits = next((other for most, other in _FALLBACKS if bits <= most), bits)
        return Stored(math.ceil(tensor.elements * bits / 8), name)

    return TensorRule(kind.bits, stored)


def other_weights(tensor: TensorShape) -> Stored:
    """Return the storage of a tensor that is not quantized: half floats."""
    return Stored(tensor.elements * _HALF, "f16")


def linear(tensor: TensorShape) -> bool:
    """Return whether a tensor is the weight of a linear layer that quantizers take: a matrix of a repeating layer."""
    if _EMBEDDING.search(tensor.name) or not _LAYER.search(tensor.name):
        return False
    matrix = len(tensor.shape) == 2 and tensor.name.endswith(".weight")
    router = tensor.name.endswith((".mlp.gate.weight", ".router.weight"))
    return (matrix and not router) or (len(tensor.shape) == 3 and ".experts." in tensor.name)


# ---------------------------------------------------------------- the table


def needs(
    config: Config,
    tensors: Sequence[TensorShape],
    types: Mapping[str, TensorRule],
    *,
    method: str,
    contexts: Sequence[int],
    parallel: int,
) -> Needs:
    """Compute the needs of the model with these `tensors` as each of `types`, for `parallel` chats.

    The cache is sampled at `contexts`, and also where its growth changes. Method "gguf" is computed as llama.cpp has it
    (the embedding apart, caches of every type that fits the heads); any other as transformers has it, whose 16-bit
    cache is at most llama.cpp's. Raises as `geometry.layer_cache` does.
    """
    native = method == "gguf"
    kept = [tensor for tensor in tensors if not (native and _TOWER.search(tensor.name))]
    wanted = sorted({*contexts, *_turns(config)})
    largest = max((math.prod(tensor.shape[-2:]) for tensor in kept if linear(tensor)), default=0)
    spare = largest * _HALF if any(rule.unpacks for rule in types.values()) else 0
    cache_types = CACHE_TYPES if native else CACHE_TYPES[:1]
    return Needs(
        method=method,
        origin=ORIGIN,
        trained_context=trained_context(config),
        parallel=parallel,
        weights={name: _weights(name, rule, kept, config, native) for name, rule in types.items()},
        samples=tuple(
            _sample(config, context, cache_type, ubatch, parallel, spare)
            for cache_type in cache_types
            if geometry.fits(config, cache_type)
            for ubatch in _UBATCHES
            for context in wanted
        ),
        layer_shares=_shares(config, wanted[-1]),
        notes=(APPROXIMATE,),
    )


def trained_context(config: Config) -> int | None:
    """Return the context that the model was trained for, in tokens; None where the config does not say it."""
    text = geometry.text_part(config)
    return next(
        (int(text[key]) for key in ("max_position_embeddings", "n_positions", "max_seq_len") if key in text), None
    )


def _turns(config: Config) -> set[int]:
    """Return the contexts between which the cache grows by a line: the ends, and where a window is full."""
    window = geometry.text_part(config).get("sliding_window")
    full = {int(window) + ubatch for ubatch in _UBATCHES} if window else set()
    return {_SHORTEST, trained_context(config) or _LONGEST, *full}


def _weights(name: str, rule: TensorRule, tensors: Sequence[TensorShape], config: Config, native: bool) -> Weights:
    layers, inputs, outputs, copy = [0] * geometry.layers(config), 0, 0, 0
    read, chosen = Counter[str](), Counter[str]()
    words = max((tensor for tensor in tensors if _EMBEDDING.search(tensor.name)), key=_elements, default=None)
    tied = not any(_HEAD.search(tensor.name) for tensor in tensors)
    for tensor in tensors:
        head = tied and tensor is words
        made = _stored(rule, replace(tensor, name="lm_head.weight") if head and native else tensor)
        place = None if _TOWER.search(tensor.name) else _LAYER.search(tensor.name)
        if place and int(place[1]) < len(layers):
            layers[int(place[1])] += made.bytes
            if ".experts." in tensor.name:
                chosen[made.kind] += round(made.bytes * _used(config))
            else:
                read[made.kind] += made.bytes
        elif _EMBEDDING.search(tensor.name):
            inputs += made.bytes
            copy += made.bytes if head else 0
            read[made.kind] += made.bytes if head else 0
        else:
            outputs += made.bytes
            read[made.kind] += made.bytes
    ends = (inputs, outputs + copy) if native else (0, inputs + outputs)
    total = sum(layers) + inputs + outputs
    told = dict(read + chosen), dict(chosen)
    return Weights(name, rule.bits, total, tuple(layers), *ends, tied and native, *told)


def _stored(rule: TensorRule, tensor: TensorShape) -> Stored:
    """Apply the rule to a tensor; a tensor that is packed already stays as it is."""
    return Stored(tensor.size_bytes, "mxfp4") if tensor.dtype == "U8" else rule.stored(tensor)


def _elements(tensor: TensorShape) -> int:
    return tensor.elements


def _used(config: Config) -> float:
    """Return the share of the experts that one token goes through."""
    text = geometry.text_part(config)
    experts = text.get("num_experts") or text.get("num_local_experts") or text.get("n_routed_experts")
    return int(text.get("num_experts_per_tok") or experts) / int(experts) if experts else 1.0


def _sample(config: Config, context: int, cache_type: str, ubatch: int, parallel: int, spare: int) -> Sample:
    cache = geometry.layer_cache(config, context, cache_type, cache_type, parallel=parallel, ubatch=ubatch)
    vocabulary = int(geometry.text_part(config).get("vocab_size") or 0)
    return Sample(
        context=context,
        cache_type=cache_type,
        ubatch=ubatch,
        k_bytes=sum(layer.keys for layer in cache),
        v_bytes=sum(layer.values for layer in cache),
        state_bytes=sum(layer.state for layer in cache),
        compute_bytes=_compute(config, ubatch, context * parallel, vocabulary) + spare,
        output_bytes=parallel * vocabulary * _FLOAT,
    )


def _compute(config: Config, tokens: int, context: int, vocabulary: int) -> int:
    """Return the bytes of the activations of a batch of `tokens`: those of one layer or of the head, whichever is more.

    One layer: four times the width and three times the MLP's width as 32-bit floats, and the attention's 16-bit mask
    (fused attention keeps no scores). The head: the logits and twice the width. Fitted to what libllama reserves; torch
    needs no more at a time.
    """
    text = geometry.text_part(config)
    width = int(text.get("hidden_size") or text.get("n_embd") or text.get("d_model") or 0)
    inner = int(text.get("intermediate_size") or text.get("n_inner") or 4 * width)
    layer = tokens * (4 * width + 3 * inner) * _FLOAT + tokens * context * _HALF
    return max(layer, tokens * (vocabulary + 2 * width) * _FLOAT)


def _shares(config: Config, context: int) -> tuple[float, ...]:
    """Return each layer's share of the cache, at a typical context."""
    cache = geometry.layer_cache(config, min(context, _TYPICAL_CONTEXT), "f16", "f16")
    total = sum(layer.total for layer in cache)
    return tuple(layer.total / total for layer in cache)
