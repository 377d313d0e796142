"""Reads and writes importance matrices in llama.cpp's file formats, and checks them against a model's shapes.

Knows the GGUF layout that llama-imatrix writes and llama-quantize reads, and the older .dat layout (read only). Knows
nothing of how a matrix is collected. Source of both: tools/imatrix/imatrix.cpp, common/imatrix-loader.cpp and
tools/quantize/quantize.cpp of the llama.cpp in llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from lqmf.errors import LqmfError, ModelError, NotFound, UsageError, of_system
from lqmf.model_files.gguf_header import MAGIC, GgufHeader, Tensor, read_header

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUMS, COUNTS = ".in_sum2", ".counts"
ANOTHER = "Give the importance matrix of this very model, or leave --imatrix out: LQMF then makes one."
_AGAIN = "Get or make the file again, or leave --imatrix out: LQMF then makes one."
_ALIGNMENT = 32
_F32, _U32, _STRING, _ARRAY = 0, 4, 8, 9
_LONGEST_NAME = 1 << 10
_MOST_ENTRIES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """The statistics of one weight tensor: `sums` (n_matrices, n_columns) adds the squares of each column's inputs,
    `counts` (n_matrices,) counts the tokens that were added. A dense tensor of several matrices has one row and one
    count, as in llama-imatrix: its row is as long as the columns of all matrices together."""

    sums: NDArray[np.float32]
    counts: NDArray[np.float32]


@dataclass(frozen=True)
class Imatrix:
    """Entries by GGUF tensor name, collected over `chunks` windows of `chunk_tokens` tokens (0: the file does not
    say)."""

    entries: Mapping[str, Entry]
    datasets: tuple[str, ...] = ()
    chunks: int = 0
    chunk_tokens: int = 0

    def importance(self, tensor: str, columns: int | None = None) -> NDArray[np.float32] | None:
        """Return the mean squares that llama-quantize hands to ggml_quantize_chunk: (n_matrices, n_columns) float32, or
        rows of `columns` values if given. A matrix that no token reached has ones throughout. None if `tensor` has no
        entry."""
        import numpy as np

        entry = self.entries.get(tensor)
        if entry is None:
            return None
        counts = np.rint(entry.counts)[:, None].astype(np.float32)
        seen = counts > 0
        means = np.where(seen, entry.sums / np.where(seen, counts, np.float32(1)), np.float32(1))
        return np.ascontiguousarray(means if columns is None else means.reshape(-1, columns), dtype=np.float32)


def is_imatrix(path: Path) -> bool:
    """Return whether the file at `path` looks like an importance matrix, in either format; False if it cannot be
    read."""
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_NAME + 12)
        return _says_imatrix(read_header(path)) if start.startswith(MAGIC) else _looks_legacy(start)
    except (OSError, LqmfError):
        return False


def read(path: Path) -> Imatrix:
    """Return the importance matrix at `path`. Raises UsageError for a file that is missing, of another format, cut
    short, or holds impossible values."""
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_NAME + 12)
        if start.startswith(MAGIC):
            return _checked(path, _read_gguf(path))
        if _looks_legacy(start):
            return _checked(path, _read_legacy(path))
    except (FileNotFoundError, NotFound) as error:
        raise UsageError(f"There is no importance matrix at {path}.", "Check the path.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.", "Check the path and rights.") from error
    raise UsageError(f"{path.name} is not an importance matrix: it is neither GGUF nor llama.cpp's .dat.", _AGAIN)


def write(imatrix: Imatrix, path: Path) -> None:
    """Write `imatrix` as llama-imatrix would, the whole file or none of it, and sync it. Raises DiskFull, LqmfError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with fresh.open("wb") as file:
            for part in _parts(imatrix):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise of_system(error) from error


def check(imatrix: Imatrix, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise UsageError if `imatrix` belongs to another model than the one whose tensors have these `shapes` (by GGUF
    name, row length first). An untied head that only the matrix or only the model has is no sign of another model."""
    strangers = [name for name in imatrix.entries if name not in shapes and name != "output.weight"]
    if strangers:
        raise UsageError(
            f"The importance matrix belongs to another model: this one has no {strangers[0]}"
            f"{f', nor {len(strangers) - 1} more of its tensors' if len(strangers) > 1 else ''}.",
            ANOTHER,
        )
    for name, entry in imatrix.entries.items():
        if name in shapes and entry.sums.size != _width(shapes[name]):
            raise UsageError(
                f"The importance matrix belongs to another model: for {name} it holds {entry.sums.size} values, "
                f"and this model's has {_width(shapes[name])}.",
                ANOTHER,
            )
    if missing := _uncovered(imatrix, shapes):
        raise UsageError(
            f"The importance matrix belongs to another model: it says nothing of layer {missing[0]} of this one.",
            ANOTHER,
        )


# ---------------------------------------------------------------- of this model?


def _width(shape: tuple[int, ...]) -> int:
    """Values of an entry for a tensor of this `shape`: columns times matrices."""
    return shape[0] * prod(shape[2:])


def _uncovered(imatrix: Imatrix, shapes: Mapping[str, tuple[int, ...]]) -> list[int]:
    """Return the layers without an entry. Layers that only predict further tokens (nextn) are never run, so not
    counted."""
    spoken = {_layer(name) for name in imatrix.entries}
    extra = {_layer(name) for name in shapes if ".nextn." in name}
    layers = {_layer(name) for name in shapes if len(shapes[name]) > 1} - {None}
    return sorted(layer for layer in layers - spoken - extra if layer is not None)


def _layer(name: str) -> int | None:
    found = re.match(r"blk\.(\d+)\.", name)
    return int(found[1]) if found else None


# ---------------------------------------------------------------- reading


def _says_imatrix(header: GgufHeader) -> bool:
    said = header.metadata.get("general.type")
    return said == "imatrix" or any(tensor.name.endswith(SUMS) for tensor in header.tensors)


def _bad(path: Path, what: str) -> UsageError:
    return UsageError(f"{path.name} is not a sound importance matrix: {what}.", _AGAIN)


def _read_gguf(path: Path) -> Imatrix:
    try:
        header = read_header(path)
    except ModelError as error:
        raise UsageError(error.message, _AGAIN) from error
    if not _says_imatrix(header):
        what = header.architecture or "unknown"
        raise UsageError(f"{path.name} is a GGUF model ({what}), not an importance matrix.", _AGAIN)
    if header.missing_bytes:
        raise _bad(path, f"it is cut short, {header.missing_bytes} bytes are missing")
    pairs = _pairs(path, header)
    if not pairs:
        raise _bad(path, "it holds no entries")
    entries = {name: _entry(path, header, name, *pair) for name, pair in sorted(pairs.items())}
    datasets = header.metadata.get("imatrix.datasets")
    named = tuple(map(str, datasets)) if isinstance(datasets, list) else ()
    return Imatrix(entries, named, _count(header, "chunk_count"), _count(header, "chunk_size"))


def _count(header: GgufHeader, key: str) -> int:
    value = header.metadata.get(f"imatrix.{key}")
    return value if isinstance(value, int) else 0


def _pairs(path: Path, header: GgufHeader) -> dict[str, tuple[Tensor, Tensor]]:
    by_name = {tensor.name: tensor for tensor in header.tensors}
    names = {name.removesuffix(end) for name in by_name for end in (SUMS, COUNTS) if name.endswith(end)}
    for name in sorted(names):
        if name + SUMS not in by_name or name + COUNTS not in by_name:
            raise _bad(path, f"{name} has sums or counts, not both")
    return {name: (by_name[name + SUMS], by_name[name + COUNTS]) for name in names}


def _entry(path: Path, header: GgufHeader, name: str, sums: Tensor, counts: Tensor) -> Entry:
    if {sums.type, counts.type} != {"F32"}:
        raise _bad(path, f"{name} is stored as {sums.type}")
    if not counts.elements or not sums.elements or sums.elements % counts.elements:
        raise _bad(path, f"{name} has {sums.elements} sums for {counts.elements} counts")
    values, rows = _floats(path, header, sums), _floats(path, header, counts)
    return Entry(values.reshape(rows.size, -1), rows)


def _floats(path: Path, header: GgufHeader, tensor: Tensor) -> NDArray[np.float32]:
    import numpy as np

    return np.fromfile(path, dtype="<f4", count=tensor.elements, offset=header.data_offset + tensor.offset).astype("f4")


def _checked(path: Path, imatrix: Imatrix) -> Imatrix:
    import numpy as np

    for name, entry in imatrix.entries.items():
        sound = np.isfinite(entry.sums).all() and np.isfinite(entry.counts).all()
        if not sound or (entry.sums < 0).any() or (entry.counts < 0).any():
            raise _bad(path, f"{name} holds values that are no sums of squares")
    return imatrix


# ---------------------------------------------------------------- the .dat format


def _looks_legacy(start: bytes) -> bool:
    """Return whether a file with this `start` is a .dat: a count of entries, the length of a tensor's name, then the
    name."""
    if len(start) < 16:
        return False
    entries, length = struct.unpack_from("<ii", start)
    if not (0 < entries < _MOST_ENTRIES and 0 < length <= _LONGEST_NAME):
        return False
    name = start[8 : 8 + length]
    return name.isascii() and name.endswith(b".weight")


def _read_legacy(path: Path) -> Imatrix:
    """Return the matrix of a .dat, which stores means times calls, and calls. It may end with the number of windows and
    the name of the text."""
    data = path.read_bytes()
    try:
        at, entries = 4, {}
        for _ in range(struct.unpack_from("<i", data)[0]):
            name, entry, at = _legacy_entry(data, at)
            entries[name] = entry
    except (struct.error, ValueError) as error:
        raise _bad(path, "it is cut short or damaged") from error
    chunks = struct.unpack_from("<i", data, at)[0] if len(data) >= at + 4 else 0
    length = struct.unpack_from("<i", data, at + 4)[0] if len(data) >= at + 8 else 0
    dataset = data[at + 8 : at + 8 + max(0, length)].decode("utf-8", "replace")
    return Imatrix(entries, (dataset,) if dataset else (), chunks)


def _legacy_entry(data: bytes, at: int) -> tuple[str, Entry, int]:
    import numpy as np

    (length,) = struct.unpack_from("<i", data, at)
    if not 0 < length <= _LONGEST_NAME:
        raise ValueError(length)
    name = data[at + 4 : at + 4 + length].decode("utf-8", "replace")
    calls, values = struct.unpack_from("<ii", data, at + 4 + length)
    start = at + 12 + length
    if values < 1 or start + 4 * values > len(data):
        raise ValueError(values)
    sums = np.frombuffer(data, "<f4", values, start).astype("f4").reshape(1, -1)
    return name, Entry(sums, np.array([max(calls, 1)], "f4")), start + 4 * values


# ---------------------------------------------------------------- writing


def _parts(imatrix: Imatrix) -> Iterator[bytes]:
    """The file's bytes, header first: GGUF version 3, tensors in order of their names, each aligned."""
    tensors = list(_tensors(imatrix))
    pairs = [
        _key("general.type", _STRING) + _text("imatrix"),
        _key("imatrix.datasets", _ARRAY) + _texts(imatrix.datasets),
        _key("imatrix.chunk_count", _U32) + struct.pack("<I", imatrix.chunks),
        _key("imatrix.chunk_size", _U32) + struct.pack("<I", imatrix.chunk_tokens),
    ]
    header = bytearray(struct.pack("<4sIQQ", MAGIC, 3, len(tensors), len(pairs)) + b"".join(pairs))
    offset = 0
    for name, shape, values in tensors:
        header += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, _F32, offset)
        offset += values.nbytes + _padding(values.nbytes)
    yield bytes(header) + bytes(_padding(len(header)))
    for _, _, values in tensors:
        yield values.astype("<f4").tobytes() + bytes(_padding(values.nbytes))


def _tensors(imatrix: Imatrix) -> Iterator[tuple[str, tuple[int, ...], NDArray[np.float32]]]:
    for name, entry in sorted(imatrix.entries.items(), key=lambda item: item[0].encode()):
        matrices, columns = entry.sums.shape
        many = (matrices,) if matrices > 1 else ()
        yield name + SUMS, (columns, *many), entry.sums
        yield name + COUNTS, (1, *many), entry.counts


def _padding(length: int) -> int:
    return -length % _ALIGNMENT


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _texts(values: Sequence[str]) -> bytes:
    return struct.pack("<IQ", _STRING, len(values)) + b"".join(map(_text, values))


def _key(name: str, kind: int) -> bytes:
    return _text(name) + struct.pack("<I", kind)
