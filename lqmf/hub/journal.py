"""Writes a file that is being fetched: its bytes so far, and a journal that says which of them are proven.

Knows files and ranges; knows no network. `<name>.part` holds the bytes at their places, `<name>.part.journal` a first
line with the file's identity and a line for each range that was written and synced before the line was. After a kill
only journalled bytes count; a torn last line is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lqmf.hub.ranges import Range, covered, merge, missing

_VERSION = 1


def paths_of(target: Path) -> tuple[Path, Path]:
    """Return the paths of the bytes and of the journal of `target` until it is whole."""
    part = target.with_name(target.name + ".part")
    return part, part.with_name(part.name + ".journal")


def proven(target: Path, size: int, identity: str) -> list[Range]:
    """Return the ranges of `target` that a journal proves; none where the journal is for other content."""
    return _load(target, size, identity)[0]


def has_size(path: Path, size: int) -> bool:
    """Return whether there is a file at `path` of exactly `size` bytes."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


class Partial:
    """A file on its way. Write with `write`, prove with `flush`, end with `promote` or `discard`; one writer at a time.

    `identity` is the content that is wanted (`sha256:..` or `git:..`): bytes of other content are thrown away.
    """

    def __init__(self, target: Path, size: int, identity: str, *, flush_bytes: int = 8 << 20) -> None:
        self.target, self.size, self.identity = target, size, identity
        self.part, self.journal = paths_of(target)
        self._flush_bytes = flush_bytes
        self._pending: list[Range] = []
        self._files: tuple[BinaryIO, BinaryIO] | None = None
        self.done, self._valid_bytes = _load(target, size, identity)

    @property
    def complete(self) -> bool:
        return not missing(self.done, self.size)

    def missing(self) -> list[Range]:
        """Return the ranges that are still to be fetched."""
        return missing(self.done, self.size)

    def write(self, offset: int, data: bytes) -> None:
        """Write `data` at `offset`; it is proven at the next flush, which comes by itself every `flush_bytes`."""
        part, _ = self._open()
        part.seek(offset)
        _write_all(part, data)
        self._pending = merge([*self._pending, (offset, offset + len(data))])
        if covered(self._pending) >= self._flush_bytes:
            self.flush()

    def flush(self) -> None:
        """Sync the bytes, then journal them: the order that makes the journal true."""
        if not self._pending:
            return
        part, journal = self._open()
        os.fsync(part.fileno())
        lines = b"".join(json.dumps(r).encode() + b"\n" for r in self._pending)
        journal.seek(self._valid_bytes)  # over what an earlier, failed write left
        _write_all(journal, lines)
        os.fsync(journal.fileno())
        self._valid_bytes += len(lines)
        self.done = merge([*self.done, *self._pending])
        self._pending = []

    def promote(self) -> None:
        """Give the file, whole and verified, its own name, then remove the journal."""
        self._open()
        self.close()
        os.replace(self.part, self.target)
        self.journal.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the file and its journal, because the bytes are wrong; the next write begins anew."""
        self._pending = []
        self.close()
        self.part.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)
        self.done, self._valid_bytes = [], 0

    def close(self) -> None:
        """Prove the written bytes and close the files. May raise OSError on a full disk, with the files closed."""
        try:
            self.flush()
        finally:
            if self._files is not None:
                for file in self._files:
                    file.close()
            self._files = None

    def _open(self) -> tuple[BinaryIO, BinaryIO]:
        if self._files is None:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            if not self._valid_bytes:
                self.part.unlink(missing_ok=True)
                head = json.dumps({"version": _VERSION, "identity": self.identity, "size": self.size}).encode() + b"\n"
                self.journal.write_bytes(head)
                self._valid_bytes = len(head)
            part = open(self.part, "r+b" if self.part.exists() else "w+b", buffering=0)  # noqa: SIM115 - kept open
            journal = open(self.journal, "r+b", buffering=0)  # noqa: SIM115 - kept open
            journal.truncate(self._valid_bytes)
            self._files = (part, journal)
        return self._files


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of `data`: an unbuffered write may be short, as on a disk that is nearly full; the next then raises
    OSError."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _load(target: Path, size: int, identity: str) -> tuple[list[Range], int]:
    """Return (the proven ranges, how many bytes of the journal are whole lines)."""
    part, journal = paths_of(target)
    try:
        lines = journal.read_bytes().splitlines(keepends=True)
        limit = part.stat().st_size
    except FileNotFoundError:
        return [], 0
    wanted = {"version": _VERSION, "identity": identity, "size": size}
    if not lines or _line(lines[0], lambda head: head == wanted) is None:
        return [], 0
    done, valid = [], len(lines[0])
    for line in lines[1:]:
        found = _line(line, lambda r: _is_range(r, min(size, limit)))
        if found is None:
            break
        done.append((found[0], found[1]))
        valid += len(line)
    return merge(done), valid


def _line(line: bytes, valid: Callable[[object], bool]) -> list[int] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if valid(content) else None


def _is_range(content: object, limit: int) -> bool:
    return (
        isinstance(content, list)
        and len(content) == 2
        and all(isinstance(n, int) for n in content)
        and 0 <= content[0] < content[1] <= limit
    )
