"""Quantizes blocks of rows on all lanes of the processor, if that gives libggml's own bytes.

`lanes.c` is built when LQMF is installed. Before it quantizes to a type, its bytes are compared with libggml's on this
machine; if they differ, or if there is no compiler, libggml does the work. Worker only. Knows types and rows; nothing
of tensors or files.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

from lqmf.ggml import ggml
from lqmf.model_files.tensor_types import TENSOR_TYPES

_ROWS, _COLUMNS = 4, 1280  # compared: an odd number of super-blocks in each row


def quantize(kind: int, source: int, target: int, rows: int, columns: int, importance: int | None) -> int:
    """Write `rows` rows of `columns` floats at `source` as `kind` at `target`, and return the number of bytes written.

    All three are addresses: `source`, `target` and `importance` (of `columns` floats, or None). Other threads run
    meanwhile.
    """
    if proven(kind, weighted=importance is not None):
        size: int = _library().lqmf_quantize(kind, source, target, rows, columns, importance)
        return size
    return int(ggml.library().ggml_quantize_chunk(kind, source, target, 0, rows, columns, importance))


@cache
def proven(kind: int, *, weighted: bool) -> bool:
    """Return whether `lanes.c` can quantize to the type here, with or without importance, and gave libggml's bytes for
    it."""
    import numpy as np

    library, official = _library(), ggml.library()
    if library is None or (official.ggml_quantize_requires_imatrix(kind) and not weighted):
        return False
    random = np.random.default_rng(1)
    spread = 10.0 ** random.integers(-9, 3, (_ROWS, _COLUMNS // 16)).repeat(16, axis=1)  # each group its own size
    rows = (random.standard_normal((_ROWS, _COLUMNS)) * spread).astype(np.float32)
    rows[0, : _COLUMNS // 2] = random.integers(-3, 4, _COLUMNS // 2)  # ties, and groups of one value
    rows[1, :32] = 0
    importance = random.random(_COLUMNS, dtype=np.float32)
    given = importance.ctypes.data if weighted else None
    _, block, block_bytes = TENSOR_TYPES[kind]
    made, expected = np.zeros((2, _ROWS * _COLUMNS // block * block_bytes), np.uint8)
    size = library.lqmf_quantize(kind, rows.ctypes.data, made.ctypes.data, _ROWS, _COLUMNS, given)
    if size != expected.nbytes:
        return False
    official.ggml_quantize_chunk(kind, rows.ctypes.data, expected.ctypes.data, 0, _ROWS, _COLUMNS, given)
    return bool((made == expected).all())


@cache
def _library() -> Any:
    """Return the library built from `lanes.c`; None if there is none for this machine."""
    found = next(iter(sorted(Path(__file__).parent.glob("_lanes*.so"))), None)
    try:
        library = ctypes.CDLL(str(found)) if found else None
    except OSError:  # built for another machine
        return None
    if library is not None:
        address, count = ctypes.c_void_p, ctypes.c_int64
        library.lqmf_quantize.restype = count
        library.lqmf_quantize.argtypes = [ctypes.c_int, address, address, count, count, address]
    return library
