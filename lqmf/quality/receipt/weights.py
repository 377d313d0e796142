"""Describes an artifact's files without running it: their size, bits per weight, and weight matrices that cannot be
right. Knows GGUF and safetensors headers, and bytes.

A weight matrix of zeros was lost by a conversion or a quantizer: the model still loads and answers. Files are read, not
mapped: mapped pages would count a second time where the memory of a loaded model is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from lqmf.model_files import safetensors_folder, safetensors_header
from lqmf.model_files.gguf_files import holds_gguf, model_file
from lqmf.model_files.gguf_header import GgufHeader, bits_per_weight, read_header, shards

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Matrix:
    """A weight matrix and the place of its bytes. Vectors such as biases are left out: they may be zero."""

    name: str
    file: Path
    begin: int
    size_bytes: int


@dataclass(frozen=True)
class Weights:
    """The weights of an artifact: `size_bytes` of the files, `bits_per_weight` over all tensors, norms included."""

    size_bytes: int
    bits_per_weight: float | None
    matrices: tuple[Matrix, ...]


def weights(path: Path) -> Weights:
    """Return the weights at `path`, a GGUF file or a folder of GGUF or safetensors files. Raises NotFound,
    ModelError."""
    if holds_gguf(path):
        headers = [read_header(shard) for shard in shards(model_file(path))]
        matrices = tuple(matrix for header in headers for matrix in _of_gguf(header))
        return Weights(sum(header.file_bytes for header in headers), bits_per_weight(headers), matrices)
    found = safetensors_folder.matrices(path)
    matrices = tuple(Matrix(tensor.name, file, begin, tensor.size_bytes) for tensor, file, begin in found)
    size = sum(file.stat().st_size for file in safetensors_header.weights(path))
    return Weights(size, safetensors_folder.stored(path).bits_per_weight, matrices)


def _of_gguf(header: GgufHeader) -> Iterator[Matrix]:
    for tensor in header.tensors:
        if len([n for n in tensor.shape if n > 1]) >= 2:
            yield Matrix(tensor.name, Path(header.path), header.data_offset + tensor.offset, tensor.size_bytes)


def zeroed(matrices: Iterable[Matrix]) -> list[str]:
    """Return the names of the matrices that hold only zero bytes. Reads each matrix up to its first other byte, so
    almost nothing of sound files."""
    empty = []
    for matrix in matrices:
        with matrix.file.open("rb", buffering=0) as file:
            if not any(chunk.strip(b"\0") for chunk in _chunks(file, matrix.begin, matrix.size_bytes)):
                empty.append(matrix.name)
    return empty


def _chunks(file: FileIO, start: int, size: int) -> Iterator[bytes]:
    file.seek(start)
    for at in range(0, size, _CHUNK):
        yield file.read(min(_CHUNK, size - at))
