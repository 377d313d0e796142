"""GGUF files of a Llama whose weights are all zero: to measure what running one costs, whatever it would say.

The weights are a hole in the file, so it takes a header's worth of disk and is made in milliseconds. llama.cpp
computes with zeros as fast as with any other numbers. Knows the format (see `lqmf.inference.gguf_header`), and
no library.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from lqmf.inference.gguf_types import TENSOR_TYPES

_NUMBERS = {kind.name.lower(): number for number, kind in TENSOR_TYPES.items()}
_ALIGNMENT = 32
HEAD = 64  # elements of one attention head


@dataclass(frozen=True)
class Shape:
    """`type` (in small letters) is that of every matrix. Attention has a head for each 64 of `width`, all of them with
    keys of their own."""

    type: str
    layers: int
    width: int
    inner: int  # of the feed-forward part
    vocabulary: int = 256
    context: int = 1024

    @property
    def weights(self) -> int:
        """Elements of the layers' matrices: four of attention, three of the feed-forward part."""
        return self.layers * (4 * self.width * self.width + 3 * self.width * self.inner)

    @property
    def read_bytes(self) -> int:
        """Bytes that one token reads: the layers' matrices and the head."""
        return tensor_bytes(self.type, self.weights + self.width * self.vocabulary)

    @property
    def attention(self) -> int:
        """Multiply-adds of one token's attention for each token in the cache."""
        return self.layers * 2 * self.width


def tensor_bytes(type: str, elements: int) -> int:
    """The bytes that so many elements (whole blocks) of a type take. Raises KeyError for no known type."""
    kind = TENSOR_TYPES[_NUMBERS[type]]
    return elements // kind.block * kind.block_bytes


def write(path: Path, shape: Shape) -> None:
    """Write the file. Raises OSError."""
    tensors, described, end = list(_tensors(shape)), b"", 0
    for name, sizes, type in tensors:
        dimensions = struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        described += _text(name) + dimensions + struct.pack("<IQ", _NUMBERS[type], end)
        end += -(-tensor_bytes(type, prod(sizes)) // _ALIGNMENT) * _ALIGNMENT
    pairs = _metadata(shape)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    head += b"".join(_text(key) + _value(value) for key, value in pairs.items()) + described
    head += bytes(-len(head) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + end)


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Name, sizes (the row's length first) and type of each."""
    width, inner = shape.width, shape.inner
    yield "token_embd.weight", (width, shape.vocabulary), shape.type
    yield "output_norm.weight", (width,), "f32"
    yield "output.weight", (width, shape.vocabulary), shape.type
    for layer in range(shape.layers):
        for norm in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{norm}.weight", (width,), "f32"
        for square in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{square}.weight", (width, width), shape.type
        for up in ("ffn_gate", "ffn_up"):
            yield f"blk.{layer}.{up}.weight", (width, inner), shape.type
        yield f"blk.{layer}.ffn_down.weight", (inner, width), shape.type


def _metadata(shape: Shape) -> Mapping[str, Any]:
    """The keys without which llama.cpp loads no Llama; the tokenizer has as many merges as tokens, as usual ones do."""
    heads = max(1, shape.width // HEAD)
    tokens = [f"t{number}" for number in range(shape.vocabulary)]
    return {
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
