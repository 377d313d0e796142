"""Quantizes blocks of rows to the bytes that llama-quantize would write, without its files.

Other threads run while it works. Knows types and rows; nothing of tensors, files or models.
"""

from __future__ import annotations

from collections.abc import Mapping

from lqmf.errors import UsageError
from lqmf.ggml import ggml, lanes
from lqmf.model_files.tensor_types import TENSOR_TYPES

NUMBERS: Mapping[str, int] = {kind.name: number for number, kind in TENSOR_TYPES.items()}
F32, F16, BF16 = NUMBERS["F32"], NUMBERS["F16"], NUMBERS["BF16"]


def number(name: str) -> int:
    """Return the number of a type by its llama.cpp name, in any case ("q4_K", "Q4_K"). Raises UsageError for an unknown
    name."""
    known = NUMBERS.get(name.upper())
    if known is None:
        raise UsageError(f"GGUF has no tensor type called '{name}'.", f"Choose among {', '.join(NUMBERS)}.")
    return known


def row_bytes(kind: int, columns: int) -> int:
    """Return the bytes of a row of `columns` weights. Raises UsageError if the type's blocks do not fit the row."""
    _, block, block_bytes = TENSOR_TYPES[kind]
    if columns % block:
        name = TENSOR_TYPES[kind].name
        raise UsageError(f"Rows of {columns} weights cannot be {name}, which stores {block} together.", "Choose F16.")
    return columns // block * block_bytes


class Chunks:
    """libggml, loaded. All pointers are addresses of memory that the caller keeps; every call may run in any thread."""

    def __init__(self) -> None:
        self._lib = ggml.library()

    def quantize(self, kind: int, source: int, target: int, rows: int, columns: int, importance: int | None) -> bool:
        """Write `rows` rows of `columns` floats at `source` as `kind` at `target`, and return whether libggml finds the
        result sound (no value is infinite or not a number). `importance` is the address of `columns` floats, or
        None."""
        size = lanes.quantize(kind, source, target, rows, columns, importance)
        return self.sound(kind, target, size)

    def sound(self, kind: int, data: int, size_bytes: int) -> bool:
        """Return whether libggml would load these bytes: all scales and floats are finite."""
        return bool(self._lib.ggml_validate_row_data(kind, data, size_bytes))

    def to_bf16(self, source: int, target: int, count: int) -> None:
        """Round `count` floats at `source` to bfloat16 at `target`, as llama.cpp does."""
        self._lib.ggml_fp32_to_bf16_row_ref(source, target, count)

    def needs_importance(self, kind: int) -> bool:
        """Return whether libggml aborts if it quantizes to this type without importance."""
        return bool(self._lib.ggml_quantize_requires_imatrix(kind))
