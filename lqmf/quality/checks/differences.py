"""Lists the differences between two artifacts that should be equal: file by file, key by key, tensor by tensor.

Compares bytes and headers; runs nothing, so it cannot say how much a difference matters. Knows GGUF files and
safetensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lqmf.model_files import safetensors_header
from lqmf.model_files.gguf_header import read_header

_CHUNK = 1 << 24  # bytes of each file in memory at a time


@dataclass(frozen=True)
class Difference:
    """A difference in `file`. `tensor` None: it is about the file as a whole, or about a key of its header that
    `detail` names."""

    file: str
    tensor: str | None
    detail: str


@dataclass(frozen=True)
class _Place:
    """A tensor in a file: its type and shape ("Q4_K, 256 x 4096"), and where its bytes are."""

    form: str
    begin: int
    size_bytes: int


def between(before: Path, after: Path, names: Iterable[str]) -> list[Difference]:
    """Return the differences of the files `names` in the folder `after` from the files of these names in `before`.
    Raises ModelError for files of weights that are not sound."""
    return [difference for name in names for difference in _of_file(name, before / name, after / name)]


def _of_file(name: str, before: Path, after: Path) -> Iterator[Difference]:
    for path, detail in ((before, "is not there any more to compare with"), (after, "was not made again")):
        if not path.is_file():
            yield Difference(name, None, detail)
            return
    found = [*_of_weights(name, before, after)] if name.endswith((".gguf", ".safetensors")) else []
    if not found and not _same(before, after):
        detail = "its header differs" if name.endswith((".gguf", ".safetensors")) else "has other contents"
        found = [Difference(name, None, detail)]
    yield from found


def _same(before: Path, after: Path) -> bool:
    if before.stat().st_size != after.stat().st_size:
        return False
    return _differing(before, 0, after, 0, before.stat().st_size) == 0


def _of_weights(name: str, before: Path, after: Path) -> Iterator[Difference]:
    if name.endswith(".gguf"):
        for detail in _of_keys(before, after):
            yield Difference(name, None, detail)
    old, new = _places(before), _places(after)
    for tensor in sorted(old.keys() ^ new.keys()):
        yield Difference(name, tensor, "is gone" if tensor in old else "is new")
    for tensor in sorted(old.keys() & new.keys()):
        a, b = old[tensor], new[tensor]
        if a.form != b.form:
            yield Difference(name, tensor, f"is {b.form}, was {a.form}")
        elif count := _differing(before, a.begin, after, b.begin, a.size_bytes):
            yield Difference(name, tensor, f"{count:,} of {a.size_bytes:,} bytes differ")


def _of_keys(before: Path, after: Path) -> Iterator[str]:
    """Yield each key that differs between two GGUF headers. Long arrays (the vocabulary) count by their length."""
    old, new = read_header(before).metadata, read_header(after).metadata
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"its key {key} is {new.get(key, 'gone')}, was {old.get(key, 'not there')}"


def _places(path: Path) -> Mapping[str, _Place]:
    if path.suffix == ".gguf":
        gguf = read_header(path)
        return {
            tensor.name: _Place(_form(tensor.type, tensor.shape), gguf.data_offset + tensor.offset, tensor.size_bytes)
            for tensor in gguf.tensors
        }
    header = safetensors_header.read(path)
    return {
        tensor.name: _Place(_form(tensor.dtype, tensor.shape), header.begin + tensor.begin, tensor.size_bytes)
        for tensor in header.tensors
    }


def _form(type: str, shape: Iterable[int]) -> str:
    return f"{type}, {' x '.join(map(str, shape))}"


def _differing(before: Path, at: int, after: Path, there: int, size: int) -> int:
    """The number of bytes, of `size`, that differ."""
    import numpy as np

    count = 0
    with before.open("rb") as one, after.open("rb") as other:
        one.seek(at)
        other.seek(there)
        for start in range(0, size, _CHUNK):
            length = min(_CHUNK, size - start)
            a, b = one.read(length), other.read(length)
            if a != b:
                pair = (np.frombuffer(data.ljust(length, b"\0"), dtype=np.uint8) for data in (a, b))
                count += int(np.count_nonzero(next(pair) != next(pair)))
    return count
