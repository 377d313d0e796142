"""The header of a safetensors file: types and shapes, without the weights. Knows the format and nothing of models.

Format: eight bytes, little-endian, give the length of a JSON object that follows; it maps each tensor's name to its
dtype, shape and data_offsets (https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf.errors import IncompleteModel, UnsafeFormat
from lqmf.hub.refs import printable

_MAX_HEADER_BYTES = 100 << 20  # the format's own limit


@dataclass(frozen=True)
class Header:
    """`elements` counts parameters by dtype ("BF16"); `end` is the file's length in bytes as the header says it."""

    elements: Counter[str]
    end: int


def read(path: Path) -> Header:
    """The header of the file at `path`.

    Raises UnsafeFormat for a file that is no safetensors file, IncompleteModel for one that was cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
            raise _not_one(path)
        header = _parse(file.read(length), path)
    counted = _count(header, path)
    end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if end > size:
        raise IncompleteModel(
            f"{printable(path.name)} is cut short: {size} bytes of {end}.", "Fetch or copy the file again."
        )
    return Header(counted, end)


def _parse(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        raise _not_one(path) from None
    if not isinstance(header, dict):
        raise _not_one(path)
    header.pop("__metadata__", None)
    return header


def _count(header: dict[str, Any], path: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    try:
        for entry in header.values():
            counted[str(entry["dtype"])] += math.prod(int(n) for n in entry["shape"])
            begin, end = entry["data_offsets"]
            if not 0 <= begin <= end:
                raise ValueError
    except (KeyError, TypeError, ValueError):
        raise _not_one(path) from None
    return counted


def _not_one(path: Path) -> UnsafeFormat:
    return UnsafeFormat(
        f"{printable(path.name)} is not a safetensors file (a link, a stub or another format).",
        "Use another repository of this model, or another copy of the folder.",
    )
