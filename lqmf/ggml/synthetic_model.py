"""Writes GGUF files of a Llama whose weights have no meaning, to measure the cost of running such a model.

The weights are zeros in a hole of the file, so that it takes a header's worth of disk and is written in milliseconds.
Or they are given rows, repeated, for measurements in which it counts that a processor works harder for numbers, and
that tokens choose different experts. Knows the format (see `lqmf.model_files.gguf_header`), and no library.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from lqmf.model_files.tensor_types import TENSOR_TYPES

_NUMBERS = {kind.name.lower(): number for number, kind in TENSOR_TYPES.items()}
_ALIGNMENT = 32
HEAD = 64  # elements of one attention head
Rows = Callable[[str, int], bytes]


@dataclass(frozen=True)
class Shape:
    """The sizes of the model. `type` (in small letters) is that of its matrices. Attention has a head for each 64 of
    `width`, all of them with keys of their own."""

    type: str
    layers: int
    width: int
    inner: int  # of the feed-forward part
    vocabulary: int = 256
    context: int = 1024
    experts: int = 0  # feed-forward parts of a layer, of which each token uses `used`; 0: one for all
    used: int = 1

    @property
    def weights(self) -> int:
        """Return the elements of the layers' matrices that a token uses: four of attention, three of each feed-forward
        part."""
        return self.layers * (4 * self.width * self.width + self.used * 3 * self.width * self.inner)

    @property
    def chosen(self) -> int:
        """Return how many of the elements in `weights` lie in experts."""
        return self.layers * self.used * 3 * self.width * self.inner if self.experts else 0

    @property
    def read_bytes(self) -> int:
        """Return the bytes that one token reads: the layers' matrices and the head."""
        return tensor_bytes(self.type, self.weights + self.width * self.vocabulary)

    @property
    def attention(self) -> int:
        """Return the multiply-adds of one token's attention for each token in the cache."""
        return self.layers * 2 * self.width


def tensor_bytes(type: str, elements: int) -> int:
    """Return the bytes that `elements` elements (whole blocks) of a type take. Raises KeyError for an unknown type."""
    kind = TENSOR_TYPES[_NUMBERS[type]]
    return elements // kind.block * kind.block_bytes


def write(path: Path, shape: Shape, rows: Rows | None = None) -> None:
    """Write the GGUF file of `shape`. `rows` takes a type and a row's length, and returns whole rows to fill matrices
    with. Raises OSError."""
    tensors, described, end = list(_tensors(shape)), b"", 0
    places = []
    for name, sizes, type in tensors:
        dimensions = struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        described += _text(name) + dimensions + struct.pack("<IQ", _NUMBERS[type], end)
        places.append(end)
        end += -(-tensor_bytes(type, prod(sizes)) // _ALIGNMENT) * _ALIGNMENT
    pairs = _metadata(shape)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    head += b"".join(_text(key) + _value(value) for key, value in pairs.items()) + described
    head += bytes(-len(head) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + end)
        for place, (_, sizes, type) in zip(places, tensors, strict=True) if rows else ():
            size = tensor_bytes(type, prod(sizes))
            some = rows(type, sizes[0]) if rows and len(sizes) > 1 else struct.pack("<f", 1.0)
            file.seek(len(head) + place)
            file.write((some * (-(-size // len(some))))[:size])


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Yield the name, the sizes (the row's length first) and the type of each tensor."""
    width, inner = shape.width, shape.inner
    yield "token_embd.weight", (width, shape.vocabulary), shape.type
    yield "output_norm.weight", (width,), "f32"
    yield "output.weight", (width, shape.vocabulary), shape.type
    for layer in range(shape.layers):
        for norm in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{norm}.weight", (width,), "f32"
        for square in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{square}.weight", (width, width), shape.type
        if shape.experts:
            yield f"blk.{layer}.ffn_gate_inp.weight", (width, shape.experts), "f32"
        which, many = ("_exps", (shape.experts,)) if shape.experts else ("", ())
        for up in ("ffn_gate", "ffn_up"):
            yield f"blk.{layer}.{up}{which}.weight", (width, inner, *many), shape.type
        yield f"blk.{layer}.ffn_down{which}.weight", (inner, width, *many), shape.type


def _metadata(shape: Shape) -> Mapping[str, Any]:
    """The keys without which llama.cpp loads no Llama; the tokenizer has as many merges as tokens, as usual ones do."""
    heads = max(1, shape.width // HEAD)
    tokens = [f"t{number}" for number in range(shape.vocabulary)]
    experts = {"llama.expert_count": shape.experts, "llama.expert_used_count": shape.used} if shape.experts else {}
    return {
        **experts,
        "general.architecture": "llama",
        "llama.context_length": shape.context,
        "llama.embedding_length": shape.width,
        "llama.block_count": shape.layers,
        "llama.feed_forward_length": shape.inner,
        "llama.attention.head_count": heads,
        "llama.attention.head_count_kv": heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": [f"t{number} t{number}" for number in range(shape.vocabulary)],
        "tokenizer.ggml.eos_token_id": shape.vocabulary - 1,  # of all equal tokens the first is written: never this
    }


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    """A typed value: text, a 32-bit integer or float, or a list of texts."""
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
