"""The sizes and the memory of a model as each GGUF type, by llama.cpp's own arithmetic, without reading a weight.

libllama reads a header-only GGUF (`header`) and is asked about it (`arithmetic`); its answers become the table of
`lqmf.fit.needs`. The table is kept in LQMF's cache: a second call reads one small file. Knows no machine and nothing of
the user's wishes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from lqmf import workspace
from lqmf.errors import UsageError
from lqmf.fit.needs import CACHE_TYPES, MOST_CHATS, Needs, Sample, Weights
from lqmf.ggml.library import version
from lqmf.model_files import gguf_types
from lqmf.model_files.gguf_header import GgufHeader, Tensor, read_header
from lqmf.model_files.tensor_types import KINDS
from lqmf.quantization.gguf.converter import convert, header
from lqmf.quantization.gguf.converter.toolchain import Toolchain
from lqmf.quantization.gguf.mix import arithmetic
from lqmf.quantization.gguf.mix.arithmetic import SCALE_CHATS, Answers, Step, Told
from lqmf.records import from_json, to_json

_SHORTEST, _LONGEST = 512, 131072  # contexts sampled unasked, in powers of two
_MOST_CELLS = 1 << 22  # of all chats: longer contexts are left to the line through the samples (cells take memory)
_UBATCHES = (512, 128)
_STEPS = (
    Step("types"),
    *(Step("scale", cache) for cache in CACHE_TYPES),
    *(Step("contexts", cache, ubatch) for cache in CACHE_TYPES for ubatch in _UBATCHES),
)
_MIB = 1 << 20
_ROUNDED_MIB = 0.0051  # what the log's two decimals may be off
_KNOWN, _MATCHED = "llama.cpp's converter knows it", "llama.cpp has one that gives the same tokens"
_TYPICAL_CONTEXT = 8192  # at which the layers' shares of the cache are taken
_LAYER = re.compile(r"(?:enc\.|dec\.)?blk\.(\d+)\.")  # an encoder-decoder's two halves count as one
_INPUTS = ("token_embd", "position_embd", "token_types", "per_layer_token_embd", "rope_")


def needs(source: Path, name: str, contexts: Sequence[int], parallel: int, tools: Toolchain) -> Needs:
    """Return the sizes and the memory of the model in `source` for `parallel` chats; `contexts` (tokens) are sampled
    besides the usual ones.

    Raises UsageError for more chats than llama.cpp has, and as `header.make` and `arithmetic.ask` do.
    """
    if parallel > MOST_CHATS:
        raise UsageError(f"llama.cpp holds {MOST_CHATS} chats at once at most.", f"Say `--parallel {MOST_CHATS}`.")
    contexts = [context for context in contexts if context * parallel <= _MOST_CELLS]
    folder = header.place(source, name, tools)
    table = folder / f"{parallel}.json"
    asked, known = _recall(table)
    if known is not None and asked.issuperset(contexts):
        return known
    kept = header.make(source, name, tools, folder)
    with kept.extended() as file:
        shape = read_header(file)
        wanted = sorted({*usual_contexts(trained_context(shape), _MOST_CELLS // parallel), *asked, *contexts})
        numbers = {type: layout.ftype for type, layout in gguf_types.LAYOUTS.items() if type not in gguf_types.OUTTYPES}
        answers = arithmetic.ask(file, numbers, _STEPS, wanted, parallel)
    found = read_answers(shape, answers, parallel, kept.notes)
    workspace.keep_json(table, {"asked": wanted, "needs": to_json(found)})
    return found


def tokenizer(needs: Needs) -> tuple[Literal["known", "matched", "differs", "unknown"], str]:
    """Return the state of the tokenizer, and the note that tells it: known to the converter, matched by behaviour, read
    otherwise in some lines, or unknown (sizes lack it)."""
    for note in needs.notes:
        if note.startswith(convert.NO_TOKENIZER):
            return "unknown", note
        if note.startswith(convert.DIFFERS):
            return "differs", note
    matched = any(note.startswith(convert.MATCHED) for note in needs.notes)
    return ("matched", _MATCHED) if matched else ("known", _KNOWN)


def trained_context(shape: GgufHeader) -> int | None:
    """Return the context that the model was trained for, in tokens; None if the header does not tell it."""
    told = shape.metadata.get(f"{shape.architecture}.context_length")
    return told if isinstance(told, int) and told > 0 else None


def usual_contexts(trained: int | None, most: int = _MOST_CELLS) -> list[int]:
    """Return the context lengths to sample, in tokens: powers of two up to the `trained` context, and `trained` itself;
    none above `most`."""
    longest = min(trained or _LONGEST, _LONGEST, most)
    powers = [1 << n for n in range(_SHORTEST.bit_length() - 1, longest.bit_length()) if 1 << n <= longest]
    return [*powers, trained] if trained and trained <= most and trained not in powers else powers


def read_answers(shape: GgufHeader, answers: Answers, parallel: int, notes: Sequence[str] = ()) -> Needs:
    """Return the table of needs by libllama's answers about the model with the header `shape`."""
    packed = {tensor.name for tensor in shape.tensors if tensor.type not in ("F32", "F16", "BF16")}
    changes = {type: changed for type, changed in answers.types.items() if packed.isdisjoint(changed)}
    refused = len(changes) < len(answers.types)
    changes |= {type: {} for type in gguf_types.OUTTYPES}
    weights = {type: _weights(shape, type, changes[type]) for type in gguf_types.TYPES if type in changes}
    if refused:
        notes = (*notes, f"Its weights are quantized already; llama.cpp can only make {', '.join(weights)} of them.")
    told = [each for each in answers.told if each.step.what == "contexts"]
    scales = {each.step.cache_type: each for each in answers.told if each.step.what == "scale"}
    return Needs(
        method="gguf",
        origin=version(),
        trained_context=trained_context(shape),
        parallel=parallel,
        weights=weights,
        samples=tuple(_sample(each, scales.get(each.step.cache_type), parallel) for each in told),
        layer_shares=_shares(told, _layers(shape)),
        nodes=told[0].nodes if told else 0,
        attention=_attention(shape),
        notes=tuple(notes),
        refusals=tuple(dict.fromkeys(answers.notes)),
        mixed_cache=f"{shape.architecture}.attention.kv_lora_rank" not in shape.metadata,  # libllama refuses it there
    )


def _recall(table: Path) -> tuple[set[int], Needs | None]:
    """Return the contexts that were sampled, and the table; no contexts and None if no sound table is kept."""
    try:
        document = workspace.kept_json(table)
        return set(document["asked"]), from_json(Needs, document["needs"])
    except (ValueError, TypeError, KeyError):
        return set(), None


# ---------------------------------------------------------------- weights


def _weights(shape: GgufHeader, type: str, changed: Mapping[str, str]) -> Weights:
    kinds = {tensor.name: _kind(tensor, type, changed) for tensor in shape.tensors}
    sizes = {tensor.name: _size(tensor, kinds[tensor.name]) for tensor in shape.tensors}
    layers, tied = [0] * _layers(shape), "output.weight" not in sizes
    inputs, outputs = 0, 0
    read, chosen = Counter[str](), Counter[str]()
    for name, size in sizes.items():
        if found := _LAYER.match(name):
            layers[int(found[1])] += size
            if "exps." in name:
                chosen[kinds[name]] += round(size * _used(shape))
            else:
                read[kinds[name]] += size
        elif name.startswith(_INPUTS):
            inputs += size
        else:
            outputs += size
            read[kinds[name]] += size
    if tied and (head := sizes.get("token_embd.weight")):
        outputs += head
        read[kinds["token_embd.weight"]] += head
    return Weights(
        type=type,
        bits=gguf_types.TYPES[type].bits,
        file_bytes=header.file_bytes(shape, sizes.values()),
        layers=tuple(layers),
        input_bytes=inputs,
        output_bytes=outputs,
        tied=tied,
        read=dict(read + chosen),
        chosen=dict(chosen),
        head=kinds.get("token_embd.weight" if tied else "output.weight", ""),
    )


def _kind(tensor: Tensor, type: str, changed: Mapping[str, str]) -> str:
    """The tensor's type in a file of `type`, as ggml spells it. The converter writes its own types in one step: half
    floats become that type and everything else stays as it is."""
    if type in gguf_types.OUTTYPES and tensor.type == "F16":
        return gguf_types.OUTTYPES[type]
    return changed.get(tensor.name, tensor.type.lower())


def _size(tensor: Tensor, kind: str) -> int:
    block = KINDS[kind.lower()]
    return tensor.elements // block.block * block.block_bytes


def _layers(shape: GgufHeader) -> int:
    places = [int(found[1]) for tensor in shape.tensors if (found := _LAYER.match(tensor.name))]
    return max(places, default=-1) + 1


def _attention(shape: GgufHeader) -> int:
    """Multiply-adds of one token's attention for each token in the cache: in every layer that caches any, the heads
    times the lengths of a key and a value. 0 where the header does not tell."""
    told = {key.removeprefix(f"{shape.architecture}.attention."): value for key, value in shape.metadata.items()}
    layers, width = _layers(shape), shape.metadata.get(f"{shape.architecture}.embedding_length", 0)
    heads, cached = _each(told.get("head_count", 0), layers), _each(told.get("head_count_kv", 1), layers)
    key = int(told.get("key_length", width // max(1, *heads, 1)))
    value = int(told.get("value_length", key))
    return sum(count for count, kept in zip(heads, cached, strict=False) if kept) * (key + value)


def _each(told: object, layers: int) -> list[int]:
    """A number for each layer, from a header that gives one for all or one for each."""
    return told if isinstance(told, list) else [told] * layers if isinstance(told, int) else []


def _used(shape: GgufHeader) -> float:
    """The part of the experts that one token goes through."""
    experts, used = (shape.metadata.get(f"{shape.architecture}.{key}") for key in ("expert_count", "expert_used_count"))
    return used / experts if experts and used else 1.0


# ---------------------------------------------------------------- contexts


def _sample(told: Told, scale: Told | None, parallel: int) -> Sample:
    """Return one context's memory in bytes; `scale` is the answer for the same cache type and SCALE_CHATS chats, whose
    sizes are exact where the log's two decimals are not."""
    keys, values, state, output = 0, 0, 0, _bytes(told.output_mib)
    if scale is None or (len(scale.caches), len(scale.states)) != (len(told.caches), len(told.states)):
        keys = sum(_bytes(cache.k_mib) for cache in told.caches)
        values = sum(_bytes(cache.v_mib) for cache in told.caches)
        state = sum(_bytes(kept.mib) for kept in told.states)
    else:
        for cache, seen in zip(told.caches, scale.caches, strict=True):
            keys += _bytes(cache.k_mib, round(_bytes(seen.k_mib) / seen.cells) * cache.cells)
            values += _bytes(cache.v_mib, round(_bytes(seen.v_mib) / seen.cells) * cache.cells)
        part = parallel / SCALE_CHATS
        state = sum(_bytes(a.mib, round(_bytes(b.mib) * part)) for a, b in zip(told.states, scale.states, strict=True))
        output = _bytes(told.output_mib, round(_bytes(scale.output_mib) * part))
    return Sample(
        context=told.context,
        cache_type=told.step.cache_type,
        ubatch=told.step.ubatch,
        k_bytes=keys,
        v_bytes=values,
        state_bytes=state,
        compute_bytes=_bytes(told.compute_mib),
        output_bytes=output,
    )


def _bytes(mib: float, finer: int | None = None) -> int:
    """Return the log's `mib` in bytes; `finer` instead if it is given and rounds to the same two decimals."""
    return finer if finer is not None and abs(finer / _MIB - mib) <= _ROUNDED_MIB else round(mib * _MIB)


def _shares(told: Sequence[Told], layers: int) -> tuple[float, ...]:
    """Each layer's part of the cache: a cache is shared out evenly among its own layers."""
    alike = [each for each in told if each.step == told[0].step]
    typical = [each for each in alike if each.context <= _TYPICAL_CONTEXT] or alike
    shares = [0.0] * layers
    for each in typical[-1:]:
        for cache in each.caches:
            for layer in cache.layers:
                shares[layer] += (cache.k_mib + cache.v_mib) / len(cache.layers)
        for state in each.states:
            for layer in state.layers:
                shares[layer] += state.mib / len(state.layers)
    total = sum(shares)
    return tuple(share / total for share in shares) if total else (1 / layers,) * layers if layers else ()
