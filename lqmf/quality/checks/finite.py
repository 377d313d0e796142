"""Checks files of weights whatever the model: all bytes are there, and no number is NaN or infinite.

libggml itself judges GGUF blocks, as its loader does under `--check-tensors`; floats in safetensors are judged by their
exponent bits. Predictions do not show every such weight: llama.cpp rounds activations before each product, and NaN with
them. Reads in pieces; knows headers and bytes, no engine. Runs in a worker only, because it loads libggml.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lqmf.model_files import safetensors_header
from lqmf.model_files.gguf_files import holds_gguf, model_file
from lqmf.model_files.gguf_header import GgufHeader, read_header, shards
from lqmf.model_files.tensor_types import KINDS

_PIECE_BYTES = 8 << 20
_EXPONENTS = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000),
              "F64": ("<u8", 0x7FF0000000000000), "F8_E5M2": ("u1", 0x7C), "F8_E4M3": ("u1", 0x7F)}  # fmt: skip


def lacking_bytes(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (name, missing bytes) of each file of weights at `path`. Raises NotFound, ModelError; IncompleteModel for
    safetensors that are cut short, or a missing shard."""
    if holds_gguf(path):
        for shard in shards(model_file(path)):
            yield shard.name, read_header(shard).missing_bytes
        return
    for file in safetensors_header.weights(path):
        safetensors_header.read(file)
        yield file.name, 0


class OutOfTime(Exception):
    """The time was over before all weights were read, and none of those read was NaN or infinite."""


def infinite(path: Path, seconds: float | None = None) -> list[str]:
    """Return the names of tensors that hold NaN or infinity, in stored floats or in the scales of blocks. Raises
    OutOfTime where `seconds` (None: no limit) are over before all is read, unless such a tensor was found by then."""
    end = math.inf if seconds is None else time.monotonic() + seconds
    if holds_gguf(path):
        told = (judged for shard in shards(model_file(path)) for judged in _of_gguf(read_header(shard)))
    else:
        told = (judged for file in safetensors_header.weights(path) for judged in _of_folder(file))
    broken = list[str]()
    for name, sound in told:
        broken += [] if sound else [name]
        if time.monotonic() > end:
            if not broken:
                raise OutOfTime(f"not all was read in {seconds:.0f} s; nothing was found up to {name}")
            break
    return broken


def _of_gguf(header: GgufHeader) -> Iterator[tuple[str, bool]]:
    """Yield (name, whether it is sound) of each tensor."""
    import numpy as np

    from lqmf.ggml.chunks import Chunks, number

    chunks, room = Chunks(), np.empty(_PIECE_BYTES, np.uint8)
    with Path(header.path).open("rb", buffering=0) as file:
        for tensor in header.tensors:
            kind, start = number(tensor.type), header.data_offset + tensor.offset
            sound = (
                chunks.sound(kind, room.ctypes.data, len(piece))
                for piece in _pieces(file, start, tensor.size_bytes, KINDS[tensor.type.lower()].block_bytes, room)
            )
            yield tensor.name, all(sound)


def _pieces(file: Any, start: int, size: int, block: int, room: Any) -> Iterator[Any]:
    """Yield whole blocks, one piece after the other, each in `room`; bytes that a cut file lacks are left out."""
    step = len(room) // block * block
    file.seek(start)
    for at in range(0, size, step):
        piece = memoryview(room)[: min(step, size - at)]
        got = file.readinto(piece) or 0
        yield piece[: got // block * block]


def _of_folder(file: Path) -> Iterator[tuple[str, bool]]:
    """Yield (name, whether it is sound) of each tensor of floats in a safetensors file."""
    import numpy as np

    header, room = safetensors_header.read(file), np.empty(_PIECE_BYTES, np.uint8)
    with file.open("rb", buffering=0) as handle:
        for tensor in header.tensors:
            if tensor.dtype not in _EXPONENTS:
                continue
            dtype, mask = _EXPONENTS[tensor.dtype]
            width = np.dtype(dtype).itemsize
            pieces = _pieces(handle, header.begin + tensor.begin, tensor.size_bytes, width, room)
            yield tensor.name, not any((np.frombuffer(piece, dtype) & mask == mask).any() for piece in pieces)
