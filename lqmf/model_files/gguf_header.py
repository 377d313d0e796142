"""Reads the header of a GGUF file: metadata, and each tensor's name, shape, type and place. Standard library only.

Reads no weights, and trusts no number in the header: every length is compared with the bytes that the file has, so a
truncated or hostile file ends in a ModelError, quickly, in little memory. Knows nothing of llama.cpp's library.
Format: the GGUF specification, versions 2 and 3, little-endian (github.com/ggml-org/ggml, docs/gguf.md).
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from lqmf.errors import IncompleteModel, ModelError, NotFound
from lqmf.model_files.gguf_types import FILE_TYPES, bits
from lqmf.model_files.tensor_types import TENSOR_TYPES

MAGIC = b"GGUF"
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_LONGEST_STRING = 16 << 20  # a chat template is some KB
_MOST_PAIRS = 1 << 16
_MOST_TENSORS = 1 << 20
_MOST_STRINGS = 1 << 22  # the largest vocabularies hold some 260,000
_KEPT_ELEMENTS = 64  # longer arrays (the vocabulary, its merges) are skipped, only their length is kept
_LONGEST_HEADER = 1 << 28  # 260,000 tokens and their merges take some 20 MB
_LARGEST = 1 << 62


@dataclass(frozen=True)
class LongArray:
    """A placeholder for an array that was skipped; `at` is the byte where its elements begin."""

    length: int
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Tensor:
    """One tensor. `shape` is in GGUF's order: the row length first. `offset` counts bytes from the start of the data
    section."""

    name: str
    shape: tuple[int, ...]
    type: str
    size_bytes: int
    offset: int

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class GgufHeader:
    """The header of one file. `file_bytes` is the size on disk, `end` the byte at which the last tensor ends."""

    path: str
    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    data_offset: int
    file_bytes: int

    @cached_property
    def end(self) -> int:
        return self.data_offset + max((t.offset + t.size_bytes for t in self.tensors), default=0)

    @property
    def missing_bytes(self) -> int:
        """Return how many bytes of the tensors' data the file lacks; 0 for a whole file."""
        return max(0, self.end - self.file_bytes)

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def tensor_bytes(self) -> int:
        return sum(t.size_bytes for t in self.tensors)

    @property
    def parameters(self) -> int:
        return sum(t.elements for t in self.tensors)

    @property
    def type(self) -> str:
        """Return llama.cpp's name of the file's type ("Q4_K_M") from the metadata, else the tensor type that holds most
        bytes; empty without tensors."""
        said = self.metadata.get("general.file_type")
        if isinstance(said, int) and said & 1023 in FILE_TYPES:  # 1024 marks a guessed type
            return FILE_TYPES[said & 1023]
        weight = Counter[str]()
        for tensor in self.tensors:
            weight[tensor.type] += tensor.size_bytes
        return weight.most_common(1)[0][0] if weight else ""

    @property
    def bits(self) -> int:
        return bits(self.type)


def read_header(path: Path) -> GgufHeader:
    """Return the header of the GGUF file at `path`. Raises NotFound, ModelError if the file is unreadable or no sound
    GGUF."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size < 24:
                raise ModelError(f"{path.name} is too short ({size} bytes) to be a GGUF file.", _AGAIN)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return _Reader(path, view, size).header()
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", "lqmf test discover") from error
    except OSError as error:
        why = error.strerror or error
        raise ModelError(f"{path} cannot be read: {why}.", "Check the path and its rights.") from error


def token(header: GgufHeader, id: object) -> str:
    """Return the text of one token of the vocabulary; empty if the file has no such token. Raises OSError if the file
    cannot be read, ModelError if its vocabulary is damaged."""
    known = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(id, int) or isinstance(id, bool) or not isinstance(known, LongArray | list):
        return ""
    if isinstance(known, list):
        return str(known[id]) if 0 <= id < len(known) else ""
    if not 0 <= id < known.length:
        return ""
    path = Path(header.path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        reader = _Reader(path, view, header.file_bytes)
        reader.at = known.at
        reader._skip_strings(id)
        return reader._string()


def shards(path: Path) -> list[Path]:
    """Return all files of the model whose first (or only) file is `path`, by llama.cpp's names of split files. Raises
    IncompleteModel if a file is missing, and as `read_header` does."""
    header = read_header(path)
    count = header.metadata.get("split.count", 1)
    if not isinstance(count, int) or count < 2:
        return [path]
    if count > 9999:
        raise ModelError(f"{path.name} says that it is split into {count} files.", _AGAIN)
    prefix = path.name.rsplit("-", 3)[0]
    found = [path.with_name(f"{prefix}-{n:05d}-of-{count:05d}.gguf") for n in range(1, count + 1)]
    missing = [shard.name for shard in found if not shard.is_file()]
    if missing:
        raise IncompleteModel(f"{path.name} is one of {count} files, and {', '.join(missing[:3])} is missing.", _AGAIN)
    return found


def bits_per_weight(headers: list[GgufHeader]) -> float | None:
    """Return the bits per weight over all tensors of all files, norms and embeddings included; None without tensors."""
    parameters = sum(header.parameters for header in headers)
    return 8.0 * sum(header.tensor_bytes for header in headers) / parameters if parameters else None


_CUT = "its header is cut short, or absurdly long"
_AGAIN = "Get the file again: it may be cut short or damaged."


class _Reader:
    """A cursor over the header's bytes that refuses to step past their end."""

    def __init__(self, path: Path, view: mmap.mmap, size: int) -> None:
        self.path, self.view, self.size, self.at = path, view, size, 0

    def header(self) -> GgufHeader:
        version, tensor_count, pair_count = self._preamble()
        metadata: dict[str, Any] = {}
        for _ in range(pair_count):
            key = self._string()
            if key in metadata:
                raise self._bad(f"the key {key[:64]!r} comes twice")
            metadata[key] = self._value(self._scalar("<I"))
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20 or alignment & (alignment - 1):
            raise self._bad("its alignment is no power of two")
        tensors = tuple(self._tensor(alignment) for _ in range(tensor_count))
        if len({t.name for t in tensors}) != len(tensors):
            raise self._bad("two tensors have the same name")
        data_offset = -(-self.at // alignment) * alignment
        return GgufHeader(str(self.path), version, metadata, tensors, data_offset, self.size)

    def _preamble(self) -> tuple[int, int, int]:
        if self._take(4) != MAGIC:
            raise ModelError(f"{self.path.name} is not a GGUF file: it does not begin with 'GGUF'.", _AGAIN)
        version = self._scalar("<I")
        if version not in (2, 3):
            raise self._bad(f"its format version is {version}; 2 and 3 are known")
        tensor_count, pair_count = self._scalar("<Q"), self._scalar("<Q")
        if tensor_count > _MOST_TENSORS or pair_count > _MOST_PAIRS:
            raise self._bad(f"it claims {tensor_count} tensors and {pair_count} keys")
        return version, tensor_count, pair_count

    def _bad(self, what: str) -> ModelError:
        return ModelError(f"{self.path.name} is not a sound GGUF file: {what} (at byte {self.at}).", _AGAIN)

    def _take(self, count: int) -> bytes:
        start = self._skip(count)
        return self.view[start : self.at]

    def _skip(self, count: int) -> int:
        """Step over `count` bytes; returns where they began."""
        if count > min(self.size, _LONGEST_HEADER) - self.at:
            raise self._bad(_CUT)
        self.at += count
        return self.at - count

    def _scalar(self, form: str) -> Any:
        start = self._skip(struct.calcsize(form))
        return struct.unpack_from(form, self.view, start)[0]

    def _string(self) -> str:
        length = self._scalar("<Q")
        if length > _LONGEST_STRING:
            raise self._bad(f"it claims a string of {length} bytes")
        return self._take(length).decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array(self._scalar("<I"), self._scalar("<Q"))
        if kind not in _SCALARS:
            raise self._bad(f"a value has the unknown type {kind}")
        return self._scalar(_SCALARS[kind])

    def _array(self, kind: int, length: int) -> list[Any] | LongArray:
        if kind != _STRING and kind not in _SCALARS:
            raise self._bad(f"an array's elements have the unknown type {kind}")
        if length <= _KEPT_ELEMENTS:
            return [self._value(kind) for _ in range(length)]
        start = self.at
        if kind == _STRING:
            self._skip_strings(length)
        else:
            self._skip(length * struct.calcsize(_SCALARS[kind]))
        return LongArray(length, start)

    def _skip_strings(self, length: int) -> None:
        """Step over `length` strings. A vocabulary has hundreds of thousands, so the loop is bare."""
        if length > _MOST_STRINGS:
            raise self._bad(f"it claims an array of {length} strings")
        read, view, at, limit = struct.Struct("<Q").unpack_from, self.view, self.at, self.size - 8
        for _ in range(length):
            if at > limit:
                raise self._bad(_CUT)
            at += 8 + read(view, at)[0]
        self._skip(at - self.at)

    def _tensor(self, alignment: int) -> Tensor:
        name, dimensions = self._string(), self._scalar("<I")
        if dimensions > 4:
            raise self._bad(f"the tensor {name[:64]!r} has {dimensions} dimensions")
        shape = tuple(self._scalar("<Q") for _ in range(dimensions))
        kind, offset = self._scalar("<I"), self._scalar("<Q")
        if kind not in TENSOR_TYPES:
            raise self._bad(f"the tensor {name[:64]!r} has the unknown type {kind}")
        known = TENSOR_TYPES[kind]
        if prod(shape) > _LARGEST or offset > _LARGEST or offset % alignment:
            raise self._bad(f"the tensor {name[:64]!r} has an impossible shape or place")
        if shape and shape[0] % known.block:
            raise self._bad(f"the tensor {name[:64]!r} has rows that are no whole {known.name} blocks")
        return Tensor(name, shape, known.name, prod(shape) // known.block * known.block_bytes, offset)
