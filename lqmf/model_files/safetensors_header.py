"""Reads the header of a safetensors file: types and shapes, without the weights. Knows the format and nothing of
models.

Format: eight bytes, little-endian, give the length of a JSON object that follows; it maps each tensor's name to its
dtype, shape and data_offsets (https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lqmf.errors import IncompleteModel, UnsafeFormat
from lqmf.model_files import selection
from lqmf.model_files.refs import printable

_MAX_HEADER_BYTES = 100 << 20  # the format's own limit
_MAX_DIMENSIONS = 64  # torch's
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class TensorShape:
    """A tensor as the header names it: `dtype` in the format's spelling ("BF16"), `shape` as torch gives it, `begin`
    the number of bytes between the header and the tensor's data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int = field(default=0, compare=False)

    @property
    def elements(self) -> int:
        """Return how many numbers the tensor holds."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Return the bytes that the tensor takes in the file."""
        return self.elements * _BITS[self.dtype] // 8


@dataclass(frozen=True)
class Header:
    """The header of one file: `tensors` in the order of the header, `begin` the byte at which the weights begin, `end`
    the file's length in bytes according to the header."""

    tensors: tuple[TensorShape, ...]
    begin: int
    end: int

    @property
    def elements(self) -> Counter[str]:
        """Return the number of parameters of each dtype."""
        counted: Counter[str] = Counter()
        for tensor in self.tensors:
            counted[tensor.dtype] += tensor.elements
        return counted


def read(path: Path) -> Header:
    """Return the header of the file at `path`.

    Raises UnsafeFormat for a file that is no safetensors file, IncompleteModel for a file that was cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        raw = file.read(length(file.read(8), path.name, size) - 8)
    return parse(raw, path.name, size)


def tensors(folder: Path) -> tuple[TensorShape, ...]:
    """Return all tensors of the model in `folder`, from the headers of its shards alone.

    Raises IncompleteModel if a shard is missing or there are no weights, UnsafeFormat as `read` does.
    """
    return tuple(tensor for file in weights(folder) for tensor in read(file).tensors)


def weights(folder: Path) -> tuple[Path, ...]:
    """Return the files that hold the weights of the model in `folder`, in the order of its shards.

    Raises IncompleteModel if a shard is missing or there are no weights, UnsafeFormat if the weights are pickled.
    """
    names = [path.name for path in folder.iterdir() if path.is_file()]
    index = selection.index_of(names)
    chosen = selection.choose(names, _object((folder / index).read_bytes()) or {} if index else None)
    if chosen.weights_format == "pickle":
        raise selection.pickle_refused(folder.name)
    if not chosen.weights:
        raise IncompleteModel(
            f"{folder} has no weights in safetensors files.", "Name the folder that holds the *.safetensors files."
        )
    return tuple(folder / name for name in chosen.weights)


def length(start: bytes, name: str, size: int) -> int:
    """Return the bytes of the whole header of the file `name` of `size` bytes, its first eight bytes (`start`)
    included. Raises UnsafeFormat."""
    said: int = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= said <= min(_MAX_HEADER_BYTES, size - 8):
        raise _not_one(name)
    return 8 + said


def parse(raw: bytes, name: str, size: int) -> Header:
    """Return the header whose JSON is `raw`, of the file `name` of `size` bytes. Raises UnsafeFormat,
    IncompleteModel."""
    header = _object(raw)
    if header is None:
        raise _not_one(name)
    header.pop("__metadata__", None)
    try:
        found = [(_shape(tensor, entry), entry["data_offsets"]) for tensor, entry in header.items()]
        filled = _filled(found)
    except (LookupError, TypeError, ValueError):
        raise _not_one(name) from None
    end = 8 + len(raw) + filled
    if end > size:
        raise IncompleteModel(
            f"{printable(name)} is cut short: {size} bytes of {end}.", "Fetch or copy the file again."
        )
    return Header(tuple(tensor for tensor, _ in found), 8 + len(raw), end)


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _shape(name: str, entry: Mapping[str, Any]) -> TensorShape:
    shape = tuple(entry["shape"])
    whole = all(isinstance(n, int) and n >= 0 for n in shape)
    if entry["dtype"] not in _BITS or not whole or len(shape) > _MAX_DIMENSIONS:
        raise ValueError(name)
    return TensorShape(name, entry["dtype"], shape, entry["data_offsets"][0])


def _filled(found: list[tuple[TensorShape, list[int]]]) -> int:
    """Bytes of weights. The format wants each tensor's bytes right after another's: no gap, no overlap."""
    at = 0
    for tensor, (begin, end) in sorted(found, key=lambda pair: (pair[1][0], pair[1][1])):
        if begin != at or end - begin != tensor.size_bytes:
            raise ValueError(tensor.name)
        at = end
    return at


def _not_one(name: str) -> UnsafeFormat:
    return UnsafeFormat(
        f"{printable(name)} is not a safetensors file (a link, a stub or another format).",
        "Use another repository of this model, or another copy of the folder.",
    )
