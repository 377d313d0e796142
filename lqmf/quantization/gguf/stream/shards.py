"""A model's weight files, read by position and never mapped: the bytes read do not count as this process's memory.

A file that is not there yet is waited for, and a file that nobody needs any more can be dropped. Knows bytes and
places; nothing of tensors.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lqmf.errors import IncompleteModel

_POLL_SECONDS = 0.1
_TELL_SECONDS = 1.0


class Shards:
    """The weight files, each in one of `folders`. `waiting` is called about once a second with the name of the file
    that is awaited. Before a file is dropped, an empty file of its name is left in the folder `used`, if that is
    given."""

    def __init__(self, folders: Sequence[Path], waiting: Callable[[str], None], used: Path | None = None) -> None:
        self._folders, self._waiting, self._used = folders, waiting, used
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()

    def there(self, names: Iterable[str]) -> bool:
        """Return whether all files called `names` are here."""
        return all(name in self._open or self._find(name) is not None for name in names)

    def wait(self, names: Iterable[str]) -> None:
        """Wait until all files called `names` are here."""
        told = 0.0
        for name in names:
            while not self.there([name]):
                if time.monotonic() - told > _TELL_SECONDS:
                    told = time.monotonic()
                    self._waiting(name)
                time.sleep(_POLL_SECONDS)

    def read_into(self, name: str, offset: int, target: memoryview) -> None:
        """Fill `target` with the bytes of the file `name` from `offset` on. Raises IncompleteModel where the file ends
        before that."""
        file, done = self._file(name), 0
        while done < len(target):
            count = os.preadv(file, [target[done:]], offset + done)
            if count == 0:
                raise IncompleteModel(f"{name} is cut off.", "Download the model again.")
            done += count

    def discard(self, name: str) -> None:
        """Remove the file `name` and close it, so that its space on the disk is free."""
        with self._lock:
            if (file := self._open.pop(name, None)) is not None:
                os.close(file)
            if self._used is not None:
                (self._used / name).touch()
            for folder in self._folders:
                (folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])

    def _file(self, name: str) -> int:
        if (file := self._open.get(name)) is not None:
            return file
        self.wait([name])
        with self._lock:
            if name not in self._open:
                found = self._find(name)
                if found is None:
                    raise IncompleteModel(f"{name} went away.", "Download the model again.")
                self._open[name] = os.open(found, os.O_RDONLY)
            return self._open[name]

    def _find(self, name: str) -> Path | None:
        return next((folder / name for folder in self._folders if (folder / name).is_file()), None)
