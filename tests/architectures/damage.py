"""An artifact with one thing wrong: its first two layers have changed places. What calls a quantized model good must
not call this one so. Knows files, no engine."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from lqmf.model_files import safetensors_header
from lqmf.quality.receipt.weights import Matrix, weights


def damaged(artifact: Path, out: Path) -> Path:
    """A copy of `artifact` in `out` with the matrices of its first two layers exchanged."""
    shutil.copytree(artifact, out)
    pairs = _pairs(list(_tensors(out)))
    assert pairs, "no two layers have a matrix of the same size"
    for first, second in pairs:
        kept = _bytes(first), _bytes(second)
        for matrix, data in zip((second, first), kept, strict=True):
            with matrix.file.open("r+b") as file:
                file.seek(matrix.begin)
                file.write(data)
    return out


def _tensors(folder: Path) -> Iterator[Matrix]:
    """Every tensor with its place, also packed ones, which bitsandbytes keeps as a single column."""
    if any(folder.glob("*.gguf")):
        yield from weights(folder).matrices
        return
    for file in safetensors_header.weights(folder):
        header = safetensors_header.read(file)
        for tensor in header.tensors:
            yield Matrix(tensor.name, file, header.begin + tensor.begin, tensor.size_bytes)


def _pairs(matrices: list[Matrix]) -> list[tuple[Matrix, Matrix]]:
    """What the first layer holds, each with its like in the second: the first number in a name is the layer's."""
    named = {matrix.name: matrix for matrix in matrices}
    found = []
    for name, matrix in named.items():
        layer = re.search(r"\.(\d+)\.", name)
        other = named.get(f"{name[: layer.start(1)]}1{name[layer.end(1) :]}") if layer and layer[1] == "0" else None
        if other is not None and other.size_bytes == matrix.size_bytes:
            found.append((matrix, other))
    return found


def _bytes(matrix: Matrix) -> bytes:
    with matrix.file.open("rb") as file:
        file.seek(matrix.begin)
        return file.read(matrix.size_bytes)
