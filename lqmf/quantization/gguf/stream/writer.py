"""The files that a stream writes, in any order, and the order in which their data becomes safe on the disk.

A file has its final name only when it is whole. A thread of its own syncs the data, then the journal's lines about it,
then drops weight files that nobody needs any more. Knows places and bytes; nothing of weights or types.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lqmf.quantization.gguf.stream import journal as stream_journal
from lqmf.quantization.gguf.stream.journal import Journal, Line

_BATCH_BYTES = 64 << 20
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.1, 1.0  # each batch is twice as long as the one before: small models too go on


class OutputFile:
    """A file of `size` bytes that will be called `path`; until then `.part` is added to its name. In its `gaps`
    (offset, size) it holds zeros, whatever was there before."""

    def __init__(self, path: Path, header: bytes, size: int, gaps: Sequence[tuple[int, int]]) -> None:
        self.path, self._size, self._gaps = path, size, gaps
        self.part = path.with_name(path.name + ".part")
        self.file = os.open(self.part, os.O_RDWR | os.O_CREAT, 0o644)
        self.write(header, 0)

    def write(self, data: bytes | memoryview, offset: int) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self.file, view, offset)
            view, offset = view[count:], offset + count

    def sync(self) -> None:
        stream_journal.sync(self.file)

    def finish(self) -> None:
        """Fill the gaps with zeros, sync the whole file, and give it its final name."""
        for offset, size in self._gaps:
            self.write(bytes(size), offset)
        os.ftruncate(self.file, self._size)
        os.fsync(self.file)
        os.replace(self.part, self.path)

    def close(self) -> None:
        os.close(self.file)


def reopen(paths: Iterable[Path], journal: Path, fingerprint: str) -> None:
    """Rename finished files of this very job back to `.part`, if the job was interrupted before all files had their
    names."""
    if not stream_journal.same_job(journal, fingerprint):
        return
    for path in paths:
        part = path.with_name(path.name + ".part")
        if path.is_file() and not part.exists():
            os.replace(path, part)


@dataclass(frozen=True)
class Done:
    """A tensor that is written to every output: its lines, and the weight files that it needed."""

    lines: Sequence[Line]
    needed: Sequence[str]


class Syncer:
    """The thread that syncs finished tensors to the disk, in batches. `users` counts the tensors that need each weight
    file; `discard` is called with a file's name when the last of these tensors is safe on the disk."""

    def __init__(
        self,
        files: Sequence[OutputFile],
        journal: Journal,
        users: Counter[str],
        discard: Callable[[str], None] | None,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._files, self._journal, self._users, self._discard = files, journal, users, discard
        self._failed, self._seconds = failed, _SHORTEST_SECONDS
        self._queue: queue.SimpleQueue[Done | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, done: Done) -> None:
        self._queue.put(done)

    def finish(self) -> None:
        """Wait until everything added is safe on the disk, or syncing has failed."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._batch():
                pass
        except OSError as error:
            self._failed(error)

    def _batch(self) -> bool:
        batch, size, until = list[Done](), 0, time.monotonic() + self._seconds
        self._seconds = min(_LONGEST_SECONDS, 2 * self._seconds)
        goes_on = True
        while goes_on and size < _BATCH_BYTES and (left := until - time.monotonic()) > 0:
            try:
                item = self._queue.get(timeout=left)
            except queue.Empty:
                break
            goes_on = item is not None
            if item is not None:
                batch.append(item)
                size += sum(line.size for line in item.lines)
        self._make_certain(batch)
        return goes_on

    def _make_certain(self, batch: Sequence[Done]) -> None:
        if not batch:
            return
        for place in sorted({line.output for done in batch for line in done.lines}):
            self._files[place].sync()
        self._journal.append([line for done in batch for line in done.lines])
        for name in (name for done in batch for name in done.needed):
            self._users[name] -= 1
            if self._discard and self._users[name] == 0:
                self._discard(name)
