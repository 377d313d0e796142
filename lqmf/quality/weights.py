"""Weights that cannot be right, found in the file without running it. Knows GGUF headers and bytes.

A weight matrix that is zero throughout is one that a conversion or a quantizer lost: the model still loads and talks.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from lqmf.inference.gguf_header import GgufHeader, Tensor

_CHUNK = 1 << 20


def zeroed_tensors(header: GgufHeader) -> list[str]:
    """Names of the matrices (vectors such as biases may rightly be zero) that hold nothing but zero bytes.

    Reads each tensor up to its first other byte, so almost nothing of a sound file."""
    with Path(header.path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return [t.name for t in header.tensors if _is_matrix(t) and not _any_byte(view, header.data_offset, t)]


def _is_matrix(tensor: Tensor) -> bool:
    return len([n for n in tensor.shape if n > 1]) >= 2


def _any_byte(view: mmap.mmap, data_offset: int, tensor: Tensor) -> bool:
    return any(chunk.strip(b"\0") for chunk in _chunks(view, data_offset + tensor.offset, tensor.size_bytes))


def _chunks(view: mmap.mmap, start: int, size: int) -> Iterator[bytes]:
    for at in range(start, start + size, _CHUNK):
        yield view[at : min(at + _CHUNK, start + size)]
