"""Weights that cannot be right, found in the file without running it. Knows GGUF headers and bytes.

A weight matrix that is zero throughout is one that a conversion or a quantizer lost: the model still loads and talks.
The file is read, not mapped: mapped pages would count a second time where the memory of a loaded model is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from lqmf.inference.gguf_header import GgufHeader, Tensor

_CHUNK = 1 << 20


def zeroed_tensors(header: GgufHeader) -> list[str]:
    """Names of the matrices (vectors such as biases may rightly be zero) that hold nothing but zero bytes.

    Reads each tensor up to its first other byte, so almost nothing of a sound file."""
    with Path(header.path).open("rb", buffering=0) as file:
        return [t.name for t in header.tensors if _is_matrix(t) and not _any_byte(file, header.data_offset, t)]


def _is_matrix(tensor: Tensor) -> bool:
    return len([n for n in tensor.shape if n > 1]) >= 2


def _any_byte(file: FileIO, data_offset: int, tensor: Tensor) -> bool:
    return any(chunk.strip(b"\0") for chunk in _chunks(file, data_offset + tensor.offset, tensor.size_bytes))


def _chunks(file: FileIO, start: int, size: int) -> Iterator[bytes]:
    file.seek(start)
    for at in range(0, size, _CHUNK):
        yield file.read(min(_CHUNK, size - at))
