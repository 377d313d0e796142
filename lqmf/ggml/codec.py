"""Converts rows of weights to the bytes of a ggml type and back, as arrays. Knows types, no file and no model.

Worker only: libggml aborts the process on a wrong call, so lengths are checked here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.ggml import ggml, lanes
from lqmf.model_files.tensor_types import KINDS, TENSOR_TYPES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUMBERS = {kind.name.lower(): number for number, kind in TENSOR_TYPES.items()}


def row_bytes(kind: str, columns: int) -> int:
    """Return the bytes of a row of `columns` weights. Raises ValueError if the row is no whole number of blocks."""
    block = KINDS[kind]
    if columns % block.block:
        raise ValueError(f"a row of {columns} is no whole number of {kind} blocks")
    return columns // block.block * block.block_bytes


def encode(rows: NDArray[np.float32], kind: str, importance: NDArray[np.float32] | None = None) -> NDArray[np.uint8]:
    """Return `rows` (N, C) as bytes of `kind` ("q4_K"): (N, bytes of a row); `importance` (C,) weighs the columns.
    Raises ValueError if the type's blocks or `importance` do not fit the rows."""
    import numpy as np

    kind = kind.lower()
    if kind == "f32":
        return rows.astype("<f4", copy=False).view(np.uint8)
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    count, columns = rows.shape
    made = np.empty((count, row_bytes(kind, columns)), dtype=np.uint8)
    weigh = None
    if importance is not None:
        importance = np.ascontiguousarray(importance, dtype=np.float32)
        if importance.shape != (columns,):
            raise ValueError(f"importance of shape {importance.shape} for rows of {columns}")
        weigh = importance.ctypes.data
    lanes.quantize(NUMBERS[kind], rows.ctypes.data, made.ctypes.data, count, columns, weigh)
    return made


def decode(data: NDArray[np.uint8], kind: str, columns: int) -> NDArray[np.float32]:
    """Return the weights (N, `columns`) float32 that rows of bytes (N, ...) of `kind` stand for. Raises ValueError if
    the bytes are no whole rows."""
    import numpy as np

    kind = kind.lower()
    data = np.ascontiguousarray(data).reshape(-1, row_bytes(kind, columns))
    if kind == "f32":
        return data.view("<f4")
    made = np.empty((len(data), columns), dtype=np.float32)
    ggml.library().ggml_get_type_traits(NUMBERS[kind]).contents.to_float(data.ctypes.data, made.ctypes.data, made.size)
    return made
