"""Reads a runnable base GGUF tensor by tensor: weights as rows of floats. Knows places and types, no model.

Each matrix of a tensor (an expert's, say) is read apart, because each has its own importance.
"""

from __future__ import annotations

from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.ggml import codec
from lqmf.model_files.gguf_header import GgufHeader, Tensor, read_header

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class BaseFile:
    """The tensors of the GGUF file at `path`, mapped into memory; no weights are read before they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: GgufHeader = read_header(path)
        self.tensors: dict[str, Tensor] = {tensor.name: tensor for tensor in self.header.tensors}

    @cached_property
    def _bytes(self) -> Any:
        import numpy as np

        return np.memmap(self.path, dtype=np.uint8, mode="r")

    def raw(self, name: str) -> NDArray[np.uint8]:
        """Return the tensor's own bytes, mapped from the file: (rows, bytes of a row) uint8."""
        tensor = self.tensors[name]
        start = self.header.data_offset + tensor.offset
        data: NDArray[np.uint8] = self._bytes[start : start + tensor.size_bytes]
        return data.reshape(prod(tensor.shape[1:]), -1)

    def matrices(self, name: str) -> int:
        """Return how many matrices the tensor stacks: 1, or the number of experts."""
        return prod(self.tensors[name].shape[2:])

    def rows(self, name: str, matrix: int, places: slice) -> NDArray[np.float32]:
        """Return the rows of one matrix that the slice `places` takes, as floats: (rows, columns)."""
        tensor = self.tensors[name]
        per_matrix = tensor.shape[1]
        raw = self.raw(name)[matrix * per_matrix : (matrix + 1) * per_matrix][places]
        return codec.decode(raw, tensor.type, tensor.shape[0])

    def rows_at(self, name: str, matrix: int, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the rows of one matrix at the indices `places`, as floats: (rows, columns)."""
        tensor = self.tensors[name]
        return codec.decode(self.raw(name)[matrix * tensor.shape[1] + places], tensor.type, tensor.shape[0])
