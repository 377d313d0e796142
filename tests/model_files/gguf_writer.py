"""A small writer of GGUF headers, for files that no converter would make."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

STRING, ARRAY, U32, F32, BOOL = 8, 9, 4, 6, 7


def text(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def value(item: Any) -> bytes:
    """A typed value: int as u32, float as f32, str, or a list of strings."""
    if isinstance(item, str):
        return struct.pack("<I", STRING) + text(item)
    if isinstance(item, float):
        return struct.pack("<If", F32, item)
    if isinstance(item, int):
        return struct.pack("<II", U32, item)
    return struct.pack("<IIQ", ARRAY, STRING, len(item)) + b"".join(text(part) for part in item)


def tensor(name: str, shape: Sequence[int], kind: int, offset: int) -> bytes:
    sizes = b"".join(struct.pack("<Q", size) for size in shape)
    return text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)


def gguf(pairs: dict[str, Any], tensors: Sequence[bytes] = (), data: bytes = b"", version: int = 3) -> bytes:
    """A whole file with the default alignment of 32."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    head += b"".join(text(key) + value(item) for key, item in pairs.items()) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + data


SMALL = gguf(
    {"general.architecture": "llama", "general.file_type": 15, "x.scale": 1.5, "tokenizer.ggml.tokens": ["a"] * 100},
    [tensor("token_embd.weight", (256, 2), 12, 0), tensor("output_norm.weight", (256,), 0, 288)],
    b"\1" * (288 + 1024),
)
