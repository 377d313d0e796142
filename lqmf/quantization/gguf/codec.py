"""Rows of weights to the bytes of a ggml type and back, through the libggml-base that llama-cpp-python brings.

ctypes releases the interpreter's lock during every call, so threads run side by side. Knows arrays and types, no file
and no model. Worker only: libggml aborts the process on a wrong call, so lengths are checked here.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.errors import NotBuilt
from lqmf.inference.gguf_types import TENSOR_TYPES, TensorType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUMBERS = {kind.name.lower(): number for number, kind in TENSOR_TYPES.items()}
KINDS: dict[str, TensorType] = {kind.name.lower(): kind for kind in TENSOR_TYPES.values()}


class _Traits(ctypes.Structure):
    """The first fields of `struct ggml_type_traits` (ggml.h)."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    )


@lru_cache(maxsize=1)
def library() -> Any:
    """libggml-base, its functions typed. Raises NotBuilt when it is not installed."""
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:
        raise NotBuilt(f"llama.cpp cannot be loaded: {error}", "pip install llama-cpp-python") from error
    folder = Path(llama_cpp.__file__).parent / "lib"
    found = [path for path in sorted(folder.iterdir()) if path.name.startswith(("libggml-base.", "ggml-base."))]
    if not found:
        raise NotBuilt("The installed llama-cpp-python has no libggml-base.", "pip install -U llama-cpp-python")
    lib = ctypes.CDLL(str(found[0]))
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    lib.ggml_quantize_chunk.argtypes = (ctypes.c_int, pointer, pointer, count, count, count, pointer)
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_get_type_traits.argtypes = (ctypes.c_int,)
    lib.ggml_get_type_traits.restype = ctypes.POINTER(_Traits)
    lib.ggml_backend_tensor_set.argtypes = (pointer, pointer, ctypes.c_size_t, ctypes.c_size_t)
    lib.ggml_backend_tensor_set.restype = None
    lib.ggml_tensor_overhead.restype = ctypes.c_size_t
    return lib


def row_bytes(kind: str, columns: int) -> int:
    """Bytes of a row of `columns` weights. Raises ValueError when it is no whole number of blocks."""
    block = KINDS[kind]
    if columns % block.block:
        raise ValueError(f"a row of {columns} is no whole number of {kind} blocks")
    return columns // block.block * block.block_bytes


def encode(rows: NDArray[np.float32], kind: str, importance: NDArray[np.float32] | None = None) -> NDArray[np.uint8]:
    """`rows` (N, C) as `kind` ("q4_K"): (N, bytes of a row); `importance` (C,) weighs the columns."""
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
    library().ggml_quantize_chunk(NUMBERS[kind], rows.ctypes.data, made.ctypes.data, 0, count, columns, weigh)
    return made


def decode(data: NDArray[np.uint8], kind: str, columns: int) -> NDArray[np.float32]:
    """The weights (N, `columns`) that rows of bytes (N, ...) of `kind` stand for."""
    import numpy as np

    kind = kind.lower()
    data = np.ascontiguousarray(data).reshape(-1, row_bytes(kind, columns))
    if kind == "f32":
        return data.view("<f4")
    made = np.empty((len(data), columns), dtype=np.float32)
    library().ggml_get_type_traits(NUMBERS[kind]).contents.to_float(data.ctypes.data, made.ctypes.data, made.size)
    return made
