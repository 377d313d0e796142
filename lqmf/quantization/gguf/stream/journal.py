"""The journal of a streamed file: the tensors that are done, kept so that it can be believed after any interruption.

A line is one object; the first names the job by its fingerprint, each other a finished tensor and the hash of its
bytes. A line is written only after the bytes that it speaks of are on the disk. A last line that is not whole is cut
off. Knows lines and hashes; nothing of types or weights.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_FORMAT = 1
sync = getattr(os, "fdatasync", os.fsync)  # macOS has the latter alone


@dataclass(frozen=True)
class Line:
    """A finished tensor: the output (by place) that it belongs to, its type's number, place and size in bytes, hash."""

    output: int
    name: str
    kind: int
    offset: int
    size: int
    hash: str


def whole_hash(stretches: Iterable[bytes]) -> str:
    """Return the hash of a tensor, in hexadecimal, from the hashes of its stretches, in order."""
    seen = hashlib.blake2b(digest_size=16)
    for stretch in stretches:
        seen.update(stretch)
    return seen.hexdigest()


def stretch_hash(data: Any) -> bytes:
    """Return the hash of one stretch of bytes: 16 bytes of BLAKE2b."""
    return hashlib.blake2b(data, digest_size=16).digest()


class Journal:
    """The journal at `path`, of the job that `fingerprint` names. Opening it reads the lines that are there; a journal
    of another job, or of an older format, is begun anew."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._first = {"format": _FORMAT, "job": fingerprint}
        self.path = path
        self.lines, sound = _read(path, self._first)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(self._file, sound)
        os.lseek(self._file, sound, os.SEEK_SET)
        if not sound:
            self._write(json.dumps(self._first) + "\n")
            _sync_folder(path.parent)

    def append(self, lines: Iterable[Line]) -> None:
        """Add lines and sync them. The bytes that they speak of must be synced already."""
        self._write("".join(json.dumps(asdict(line)) + "\n" for line in lines))

    def _write(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(self._file, data) :]
        sync(self._file)

    def close(self) -> None:
        os.close(self._file)

    def remove(self) -> None:
        """Delete the journal's file, when the job is done."""
        self.path.unlink(missing_ok=True)


def same_job(path: Path, fingerprint: str) -> bool:
    """Return whether the journal at `path` is that of the job that `fingerprint` names."""
    return _read(path, {"format": _FORMAT, "job": fingerprint})[1] > 0


def proven(file: int, line: Line, stretches: Iterable[int]) -> bool:
    """Return whether the open `file` holds the bytes whose hash `line` has. `stretches` are the sizes of the hashed
    stretches in bytes, in order."""
    hashes, at = list[bytes](), line.offset
    for size in stretches:
        data = os.pread(file, size, at)
        if len(data) < size:
            return False
        hashes.append(stretch_hash(data))
        at += size
    return whole_hash(hashes) == line.hash


def _read(path: Path, first: Mapping[str, Any]) -> tuple[dict[tuple[int, str], Line], int]:
    """The lines by (output, tensor), and how many bytes of the file are sound; nothing of another job's."""
    lines: dict[tuple[int, str], Line] = {}
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    at, parse = 0, _checked_first(first)
    while (end := data.find(b"\n", at)) >= 0:
        try:
            line = parse(json.loads(data[at:end]))
        except (ValueError, TypeError):
            break
        if line is not None:
            lines[line.output, line.name] = line
        at, parse = end + 1, _parsed
    return lines, at


def _checked_first(first: Mapping[str, Any]) -> Callable[[Any], Line | None]:
    def check(document: Any) -> Line | None:
        if document != first:
            raise ValueError
        return None

    return check


def _parsed(document: Any) -> Line | None:
    line = Line(**document)
    if not all(isinstance(value, int) for value in (line.output, line.kind, line.offset, line.size)):
        raise ValueError
    return line


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
