"""The layout of a streamed file, before a weight is read: its header's bytes, and each tensor's type and place.

It is that of llama.cpp's converter, or of llama-quantize on the converter's 16-bit file: the same keys in the same
order, then ours. Runs in the converter's process, on its GGUF writer. Reads and writes no file. Source: gguf_writer.py,
llama-quant.cpp and gguf.cpp of the llama.cpp in llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from lqmf.ggml import chunks as ggml_chunks
from lqmf.model_files.gguf_types import LAYOUTS
from lqmf.model_files.tensor_types import TENSOR_TYPES

ALIGNMENT = 32
_QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION in ggml.h
_LARGEST_U32 = (1 << 32) - 1
_MOSTLY: Mapping[str, str] = {  # the file type that is called after a tensor type
    "Q2_K": "Q2_K", "Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "IQ1_M": "IQ1_M", "IQ2_S": "IQ2_M",
    "MXFP4": "MXFP4_MOE",
}  # fmt: skip


@dataclass(frozen=True)
class Raw:
    """A tensor as the converter would write it: `kind` is its type's number there, `shape` has the row length last."""

    name: str
    kind: int
    shape: tuple[int, ...]

    @property
    def columns(self) -> int:
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        return prod(self.shape[:-1])


@dataclass(frozen=True)
class Placed:
    """A tensor of an output: its type's number, where its bytes begin in the file, and how many they are."""

    name: str
    kind: int
    offset: int
    size: int


@dataclass(frozen=True)
class Layout:
    """One whole file: the header, padding included, its tensors by name in the file's order, and its size in bytes."""

    header: bytes
    tensors: Mapping[str, Placed]
    size: int

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """Return the padding after each tensor: the offset where it begins, and its number of zero bytes."""
        ends = (placed.offset + placed.size for placed in self.tensors.values())
        return [(end, _padded(end) - end) for end in ends if end % ALIGNMENT]


def quantized_order(names: Sequence[str]) -> list[str]:
    """Return `names` in the order in which llama-quantize writes tensors: tensors of no layer first, then by layer; by
    name within a layer."""

    def key(name: str) -> tuple[int, bytes]:
        layer = re.match(r"blk\.\s*([+-]?\d+)", name)
        return (int(layer[1]) if layer else -1, name.encode())

    return sorted(names, key=key)


def mostly(kinds: Mapping[str, int], raws: Mapping[str, Raw]) -> int:
    """Return the number of llama.cpp's file type for a mixture: the file type named after the type that most weights
    have, else Q8_0."""
    weights: Counter[str] = Counter()
    for name, kind in kinds.items():
        weights[TENSOR_TYPES[kind].name] += prod(raws[name].shape)
    most = weights.most_common(1)[0][0]
    named = LAYOUTS.get(_MOSTLY.get(most, most))
    return named.ftype if named else LAYOUTS["Q8_0"].ftype


def as_converted(writer: Any, raws: Mapping[str, Raw], metadata: Mapping[str, Any]) -> Layout:
    """Return the layout of the converter's own file, with our keys, `metadata`, at the end."""
    pairs = {key: (value.value, int(value.type), value.sub_type) for key, value in writer.kv_data[0].items()}
    return _lay_out(writer, pairs | _ours(metadata), {name: raw.kind for name, raw in raws.items()}, raws, raws)


def as_quantized(
    writer: Any, raws: Mapping[str, Raw], kinds: Mapping[str, int], file_type: int, metadata: Mapping[str, Any]
) -> Layout:
    """Return the layout of the file that llama-quantize would make of the converter's file, with these `kinds` as the
    numbers of its tensors' types."""
    pairs = {key: (_cut(value.value), int(value.type), value.sub_type) for key, value in writer.kv_data[0].items()}
    for key, number in (("general.quantization_version", _QUANTIZATION_VERSION), ("general.file_type", file_type)):
        pairs.pop(key, None)
        pairs[key] = (number, _UINT32, None)
    ordered = {name: kinds[name] for name in quantized_order(list(raws))}
    trimmed = {name: Raw(raw.name, raw.kind, _trimmed(raw.shape)) for name, raw in raws.items()}
    return _lay_out(writer, pairs | _ours(metadata), ordered, raws, trimmed)


def about_imatrix(name: str, datasets: Sequence[str], entries: int, chunks: int) -> dict[str, str | int]:
    """Return the keys by which llama-quantize says that it used an importance matrix; text is cut at 127 bytes, as
    there."""
    said: dict[str, str | int] = {"quantize.imatrix.file": _short(name)}
    if datasets:
        said["quantize.imatrix.dataset"] = _short(datasets[0])
    said["quantize.imatrix.entries_count"] = entries
    return said | ({"quantize.imatrix.chunks_count": chunks} if chunks > 0 else {})


# ---------------------------------------------------------------- the header's bytes

_UINT32, _FLOAT32, _BOOL, _STRING, _INT64 = 4, 6, 7, 8, 11  # enum gguf_type


def _ours(metadata: Mapping[str, Any]) -> dict[str, tuple[Any, int, Any]]:
    return {key: (value, _type_of(value), None) for key, value in metadata.items()}


def _type_of(value: str | float | bool) -> int:
    if isinstance(value, bool):
        return _BOOL
    if isinstance(value, int):
        return _UINT32 if 0 <= value <= _LARGEST_U32 else _INT64
    return _FLOAT32 if isinstance(value, float) else _STRING


def _lay_out(
    writer: Any,
    pairs: Mapping[str, tuple[Any, int, Any]],
    kinds: Mapping[str, int],
    raws: Mapping[str, Raw],
    shown: Mapping[str, Raw],
) -> Layout:
    """`kinds` in the file's order; `shown` has the shapes as the header gives them."""
    header = bytearray(struct.pack("<4sIQQ", b"GGUF", 3, len(kinds), len(pairs)))
    for key, (value, kind, sub_type) in pairs.items():
        header += writer._pack_val(key, _gguf_type(writer, _STRING), add_vtype=False)
        header += writer._pack_val(value, _gguf_type(writer, kind), add_vtype=True, sub_type=sub_type)
    tensors, offset = list[Placed](), 0
    for name, kind in kinds.items():
        shape = shown[name].shape
        header += writer._pack_val(name, _gguf_type(writer, _STRING), add_vtype=False)
        header += struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, offset)
        size = raws[name].rows * ggml_chunks.row_bytes(kind, raws[name].columns)
        tensors.append(Placed(name, kind, offset, size))
        offset += _padded(size)
    header += bytes(-len(header) % ALIGNMENT)
    placed = {one.name: Placed(one.name, one.kind, len(header) + one.offset, one.size) for one in tensors}
    return Layout(bytes(header), placed, len(header) + offset)


def _gguf_type(writer: Any, kind: int) -> Any:
    """The number as the enumeration that the converter's own gguf package knows."""
    return type(next(iter(writer.kv_data[0].values())).type)(kind)


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return `shape` without dimensions of 1 at the outer end, which ggml does not count."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _cut(value: Any) -> Any:
    """Return `value` with its text cut at a NUL, as libllama copies it."""
    if isinstance(value, str):
        return value.partition("\0")[0]
    if isinstance(value, list | tuple) and value and isinstance(value[0], str | bytes):
        return [item.partition("\0" if isinstance(item, str) else b"\0")[0] for item in value]
    return value


def _short(text: str) -> str:
    return text.encode()[:127].decode("utf-8", "ignore")
