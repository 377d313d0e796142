"""The unit of a stream's work: one tensor, the blocks of rows that it is cut into, and its weights as the converter
would write them.

A block is read and narrowed to the converter's 16 bits where its rows are known; else the whole tensor is evaluated, in
its source's own type where only its shape changes. Runs in the converter's process. Knows no types of outputs and
writes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from lqmf.ggml import chunks as ggml_chunks
from lqmf.ggml.chunks import BF16, F16, F32
from lqmf.quantization.gguf.stream.layout import Placed, Raw
from lqmf.quantization.gguf.stream.lazy_rows import Part, Rows
from lqmf.quantization.gguf.stream.shards import Shards

BLOCK = 1 << 19  # weights; 2 MB as floats, which fits a core's cache


@dataclass(frozen=True)
class Block:
    """`count` rows of a tensor from row `first` on, all of one matrix; `place` among the tensor's blocks."""

    place: int
    first: int
    count: int


@dataclass
class Unit:
    """A tensor and its targets. Either its `rows` are known, or `evaluate` gives the converter's own bytes of it.

    `targets` are the outputs by place, each with the tensor's type and place in it. `importance` is (matrices, columns)
    floats, or None; it counts for the outputs in `weighted`. `files` are the weight files that the tensor needs,
    `source_bytes` the bytes that it needs of them.
    """

    raw: Raw
    rows: Rows | None
    evaluate: Callable[[], Any]
    files: tuple[str, ...]
    source_bytes: int
    targets: list[tuple[int, Placed]]
    importance: Any = None
    weighted: frozenset[int] = frozenset()
    hashes: dict[int, list[bytes]] = field(default_factory=dict)
    left: int = 0

    def blocks(self) -> list[Block]:
        """Return the tensor's blocks in order: about BLOCK weights each, none of which holds rows of two matrices."""
        columns, shape = max(1, self.raw.columns), self.raw.shape
        matrix = shape[-2] if len(shape) > 1 else 1
        most, made = max(1, BLOCK // columns), list[Block]()
        for start in range(0, self.raw.rows, matrix) if matrix else ():
            for first in range(start, start + matrix, most):
                made.append(Block(len(made), first, min(most, start + matrix - first)))
        return made

    def stretches(self, placed: Placed) -> list[int]:
        """Return the bytes of each block in an output."""
        row = ggml_chunks.row_bytes(placed.kind, self.raw.columns)
        return [block.count * row for block in self.blocks()]

    @property
    def evaluated_bytes(self) -> int:
        """Return the most bytes of memory that the tensor takes while it is evaluated whole: twice the source of each
        part whose shape changes, or, where the converter evaluates, the source and 10 bytes a weight (32 bits twice, 16
        bits once)."""
        if self.rows is None:
            return self.source_bytes + self.raw.rows * self.raw.columns * 10
        return sum(2 * part.leaf.size for part in self.rows.parts if part.start is None)


class Room:
    """A budget of bytes. A request for more than the whole budget waits until nothing else is taken."""

    def __init__(self, budget: int) -> None:
        self._budget, self._used, self._changed = budget, 0, threading.Condition()

    def take(self, size: int, stopped: Callable[[], bool]) -> None:
        with self._changed:
            while self._used and self._used + size > self._budget and not stopped():
                self._changed.wait(0.1)
            self._used += size

    def give(self, size: int) -> None:
        with self._changed:
            self._used -= size
            self._changed.notify_all()


class Memory:
    """One thread's buffers, reused from block to block."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def bytes(self, use: str, size: int) -> Any:
        """Return the buffer for `use`, as a torch tensor of `size` bytes; its old content is of no use."""
        import torch

        kept = self._kept.get(use)
        if kept is None or kept.numel() < size:
            kept = self._kept[use] = torch.empty(size + 64, dtype=torch.uint8)
        return kept[:size]

    def typed(self, use: str, dtype: Any, count: int) -> Any:
        """Return the buffer for `use`, as a torch tensor of `count` values of `dtype`."""
        return self.bytes(use, count * dtype.itemsize).view(dtype)


class Loaded:
    """A unit's weights, ready to be read by blocks: each part is a tensor in memory, or a stretch of a file that is
    read by rows."""

    def __init__(self, unit: Unit, shards: Shards) -> None:
        self._unit, self._shards = unit, shards
        self._whole = _flat_bytes(unit.evaluate()) if unit.rows is None else None
        unit.evaluate = _evaluated_once  # lazy tensors keep what they were evaluated to
        parts = unit.rows.parts if unit.rows else ()
        self._evaluated = {place: self._made(part) for place, part in enumerate(parts) if part.start is None}

    def base(self, block: Block, memory: Memory, chunks: ggml_chunks.Chunks) -> Any:
        """Return the block's bytes as the converter would write them, as a flat torch tensor of uint8."""
        raw = self._unit.raw
        if self._whole is not None:
            row = ggml_chunks.row_bytes(raw.kind, raw.columns)
            return self._whole[block.first * row : (block.first + block.count) * row]
        dtype = dtype_of(raw.kind)
        base = memory.typed("base", dtype, block.count * raw.columns)
        done = 0
        for values in self._segments(block, memory):
            _narrow(values, base[done : done + values.numel()], raw.kind, memory, chunks)
            done += values.numel()
        return as_bytes(base)

    def _segments(self, block: Block, memory: Memory) -> Iterator[Any]:
        """The block's weights in their source's types, casts applied, one stretch for each part that they lie in."""
        assert self._unit.rows is not None
        columns, first, end, start = self._unit.raw.columns, block.first, block.first + block.count, 0
        for place, part in enumerate(self._unit.rows.parts):
            lower, upper = max(first, start), min(end, start + part.rows)
            if lower < upper:
                rows = (lower - start) * columns, (upper - start) * columns
                yield _cast(self._stretch(place, part, *rows, memory), part)
            start += part.rows

    def _stretch(self, place: int, part: Part, lower: int, upper: int, memory: Memory) -> Any:
        if part.start is None:
            return self._evaluated[place][lower:upper]
        leaf, size = part.leaf, part.leaf.dtype.itemsize
        values = memory.typed("source", leaf.dtype, upper - lower)
        self._shards.read_into(leaf.file, leaf.offset + (part.start + lower) * size, view(as_bytes(values)))
        return values

    def _made(self, part: Part) -> Any:
        import torch

        data = torch.empty(part.leaf.size, dtype=torch.uint8)
        self._shards.read_into(part.leaf.file, part.leaf.offset, view(data))
        made = data.view(part.leaf.dtype).reshape(part.leaf.shape)
        for change in part.shapes:
            made = change(made)
        return made.contiguous().flatten()


def _evaluated_once() -> NoReturn:
    raise AssertionError("a tensor is evaluated once")


# ---------------------------------------------------------------- torch's side of bytes


def dtype_of(kind: int) -> Any:
    import torch

    return {F16: torch.float16, BF16: torch.bfloat16, F32: torch.float32}[kind]


def _cast(values: Any, part: Part) -> Any:
    """Return `values` after the part's casts; where all casts are to 32-bit floats they are left to `_narrow`, as they
    lose nothing."""
    import torch

    narrow = (torch.float16, torch.bfloat16, torch.float32)
    if values.dtype in narrow and all(cast == torch.float32 for cast in part.casts):
        return values
    for cast in part.casts:
        values = values.to(cast)
    return values


def _narrow(values: Any, base: Any, kind: int, memory: Memory, chunks: ggml_chunks.Chunks) -> None:
    """Write `values` as the converter's type `kind` into `base`."""
    import torch

    if values.dtype == base.dtype or (values.dtype != torch.bfloat16 and kind != BF16):
        base.copy_(values)
        return
    wide = memory.typed("wide", torch.float32, values.numel()).copy_(values)
    if kind == BF16:
        chunks.to_bf16(wide.data_ptr(), base.data_ptr(), values.numel())
    else:
        base.copy_(wide)  # torch is three times slower from bfloat16 straight to half


def _flat_bytes(array: Any) -> Any:
    """The bytes of a numpy array, as a flat torch tensor."""
    import numpy as np
    import torch

    return torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def as_bytes(values: Any) -> Any:
    import torch

    return values.view(torch.uint8)


def view(data: Any) -> memoryview:
    return memoryview(data.numpy())
