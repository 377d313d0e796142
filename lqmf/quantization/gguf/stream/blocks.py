"""The engine that turns tensors into the bytes of one or several outputs, a block of rows at a time, on every core.

A block is read, widened to 32-bit floats, quantized for each output, hashed and written by one thread, while others do
the same with other blocks; so reading, computing and writing overlap, and memory stays at a few blocks. A tensor that
must be evaluated as a whole counts against a budget. Runs in the converter's process. Knows nothing of models, or of
which type is right.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lqmf.errors import UnsupportedModel
from lqmf.ggml import chunks
from lqmf.ggml.chunks import BF16, F16, F32
from lqmf.model_files.tensor_types import TENSOR_TYPES
from lqmf.quantization.gguf.stream import journal
from lqmf.quantization.gguf.stream.journal import Line
from lqmf.quantization.gguf.stream.layout import Placed
from lqmf.quantization.gguf.stream.shards import Shards
from lqmf.quantization.gguf.stream.units import Block, Loaded, Memory, Room, Unit, dtype_of, view
from lqmf.quantization.gguf.stream.writer import Done, OutputFile, Syncer


class Engine:
    """The threads that make `files` out of units. `tell` is called with source bytes done and a tensor's name."""

    def __init__(
        self,
        shards: Shards,
        files: Sequence[OutputFile],
        budget_bytes: int,
        threads: int,
        tell: Callable[[int, str], None],
    ) -> None:
        self._shards, self._files, self._tell = shards, files, tell
        self._chunks, self._room = chunks.Chunks(), Room(budget_bytes)
        self._threads = threads
        self._queue: queue.Queue[tuple[Unit, Block, Loaded] | None] = queue.Queue(maxsize=4 * threads)
        self._lock, self._error = threading.Lock(), list[BaseException]()
        self._syncer: Syncer | None = None

    def fail(self, error: BaseException) -> None:
        """Remember an error: all threads stop, and `run` raises the first error."""
        with self._lock:
            self._error.append(error)

    @property
    def stopped(self) -> bool:
        return bool(self._error)

    def run(self, units: Sequence[Unit], syncer: Syncer) -> None:
        """Make all `units`, each as soon as its weight files are there. Raises the first error, after the tensors
        finished before it are safe on the disk."""
        self._syncer = syncer
        workers = [threading.Thread(target=self._work, daemon=True) for _ in range(self._threads)]
        for worker in workers:
            worker.start()
        try:
            self._feed(list(units))
        except BaseException as error:  # noqa: BLE001  (handed on below, when the threads have ended)
            self.fail(error)
        for _ in workers:
            self._queue.put(None)
        for worker in workers:
            worker.join()
        syncer.finish()
        if self._error:
            raise self._error[0]

    def _feed(self, pending: list[Unit]) -> None:
        while pending and not self.stopped:
            place = next((i for i, unit in enumerate(pending) if self._shards.there(unit.files)), 0)
            unit = pending.pop(place)
            self._shards.wait(unit.files)
            self._room.take(unit.evaluated_bytes, lambda: self.stopped)
            blocks, loaded = unit.blocks(), Loaded(unit, self._shards)
            unit.left, unit.hashes = len(blocks), {output: [b""] * len(blocks) for output, _ in unit.targets}
            for block in blocks:
                self._queue.put((unit, block, loaded))
            del loaded  # the blocks hold what it holds

    def _work(self) -> None:
        memory = Memory()
        while (item := self._queue.get()) is not None:
            if self.stopped:
                continue  # the feeder must not be left waiting
            try:
                self._make(*item, memory)
            except BaseException as error:  # noqa: BLE001  (the top of a thread; `run` raises it)
                self.fail(error)

    def _make(self, unit: Unit, block: Block, loaded: Loaded, memory: Memory) -> None:
        base, wide = loaded.base(block, memory, self._chunks), None
        for output, placed in unit.targets:
            if placed.kind == unit.raw.kind:
                self._refuse_unsound(unit, base)
                data = base
            else:
                wide = self._widened(unit, base, memory) if wide is None else wide
                data = self._quantized(unit, block, placed, wide, memory, output in unit.weighted)
            row = chunks.row_bytes(placed.kind, unit.raw.columns)
            self._files[output].write(view(data), placed.offset + block.first * row)
            unit.hashes[output][block.place] = journal.stretch_hash(view(data))
        self._count(unit, block)

    def _widened(self, unit: Unit, base: Any, memory: Memory) -> Any:
        """Return the block as 32-bit floats. Raises UnsupportedModel for weights that llama-quantize refuses to
        load."""
        kind = unit.raw.kind
        if kind not in (F16, BF16, F32):
            raise UnsupportedModel(
                f"{unit.raw.name} is {TENSOR_TYPES[kind].name} already; llama.cpp does not quantize it again.",
                "Choose MXFP4_MOE, or the model that it was made from.",
            )
        import torch

        wide = base.view(dtype_of(kind))
        if kind != F32:
            wide = memory.typed("wide", torch.float32, wide.numel()).copy_(wide)
        if not wide.sum().isfinite():
            self._refuse_unsound(unit, base)
        return wide

    def _refuse_unsound(self, unit: Unit, base: Any) -> None:
        """Raise UnsupportedModel for a block of floats with a value that is infinite, or not a number; `beyond_half`
        where the source may be sound and F16 alone does not hold it."""
        kind = unit.raw.kind
        if kind not in (F16, BF16, F32) or self._chunks.sound(kind, base.data_ptr(), base.numel()):
            return
        if kind == F16:
            raise UnsupportedModel(
                f"{unit.raw.name} holds values that F16 does not hold: more than 65,504, or none at all.",
                "Choose BF16 or F32.",
                beyond_half=True,
            )
        raise UnsupportedModel(
            f"{unit.raw.name} holds values that are infinite, or not a number, in the model itself: no type helps.",
            "Get the model again, or use another.",
        )

    def _quantized(self, unit: Unit, block: Block, placed: Placed, wide: Any, memory: Memory, weighted: bool) -> Any:
        columns = unit.raw.columns
        data = memory.bytes("out", block.count * chunks.row_bytes(placed.kind, columns))
        importance = None
        if weighted and unit.importance is not None:
            matrix = unit.raw.shape[-2] if len(unit.raw.shape) > 1 else 1
            importance = unit.importance.ctypes.data + (block.first // matrix) * columns * 4
        address = wide.data_ptr(), data.data_ptr()
        if not self._chunks.quantize(placed.kind, *address, block.count, columns, importance):
            raise UnsupportedModel(
                f"{unit.raw.name} could not be made {TENSOR_TYPES[placed.kind].name}: a scale is infinite, or not a "
                "number.",
                "Choose another type.",
            )
        return data

    def _count(self, unit: Unit, block: Block) -> None:
        with self._lock:
            unit.left -= 1
            finished = unit.left == 0
        self._tell(unit.source_bytes * block.count // max(1, unit.raw.rows), unit.raw.name)
        if finished and self._syncer:
            self._room.give(unit.evaluated_bytes)
            self._syncer.add(Done(list(lines(unit)), unit.files))


def lines(unit: Unit) -> Iterator[Line]:
    """Yield the journal's line about a finished unit for each of its outputs."""
    for output, placed in unit.targets:
        whole = journal.whole_hash(unit.hashes[output])
        yield Line(output, placed.name, placed.kind, placed.offset, placed.size, whole)


def unproven(
    unit: Unit, files: Sequence[OutputFile], known: Mapping[tuple[int, str], Line]
) -> list[tuple[int, Placed]]:
    """Return the targets of `unit` that are still to be made: those without a line in the journal, or whose bytes in
    the file are not those of the line."""
    left = []
    for output, placed in unit.targets:
        line = known.get((output, placed.name))
        said = line and (line.kind, line.offset, line.size) == (placed.kind, placed.offset, placed.size)
        if not (line and said and journal.proven(files[output].file, line, unit.stretches(placed))):
            left.append((output, placed))
    return left


def workers() -> int:
    """Return the number of threads that keep every core busy: one more than there are cores, because one may wait for
    the disk."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 1 + (cores or 1)
