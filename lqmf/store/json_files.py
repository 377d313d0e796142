"""The JSON backend: each table is a file of JSON lines, which is appended to, and compacted now and then.

Knows files and lines; does not know what a row means. A line is `{"put": key, "row": {..}}` (a row, new or replaced) or
`{"set": key, "row": {..}}` (changed columns of a row); later lines win. Every operation holds one lock file, and a line
is on the disk before it is acknowledged. A last line without its newline was left by a killed writer: it was never
acknowledged, and the next writer cuts it off.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock

from lqmf.errors import NotFound, StoreError
from lqmf.store.base import TABLES, Row
from lqmf.store.files import set_aside, storage_errors
from lqmf.store.tables import complete, key_column, matches, own_key

FORMAT = 1
SLACK = 500  # superseded lines that a file may hold beyond twice its rows before it is compacted


class JsonStore:
    """A Store as `<table>.jsonl` files in `folder`. `on_recovered` gets a sentence on how lines that are no JSON were
    handled."""

    def __init__(self, folder: Path, on_recovered: Callable[[str], None]) -> None:
        self._folder = folder
        self._on_recovered = on_recovered
        self._guard = threading.RLock()
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / "json.lock", poll_interval=0.005, thread_local=False)
        self._tables = {name: _Table(folder / f"{name}.jsonl") for name in TABLES}
        self._closed = False

    def insert(self, table: str, row: Mapping[str, Any]) -> str | int:
        """Add a row and return its key. A row whose key exists is replaced, and counts as the newest."""
        own = own_key(table, row)
        with self._open(table) as lines:
            key = own if own is not None else lines.next_number()
            lines.append({"put": key, "row": {**row, key_column(table): key}})
        return key

    def update(self, table: str, key: str | int, changes: Mapping[str, Any]) -> None:
        """Change columns of the row with this key; the key stays. Raises NotFound."""
        with self._open(table) as lines:
            if key not in lines.rows:
                raise NotFound(f"There is no '{key}' in {table}.", "`lqmf history` shows what there is.")
            lines.append({"set": key, "row": {**changes, key_column(table): key}})

    def get(self, table: str, key: str | int) -> Row | None:
        """Return the row with this key, with all its columns, or None."""
        with self._open(table) as lines:
            return _copy(table, lines.rows[key]) if key in lines.rows else None

    def find(
        self, table: str, where: Mapping[str, Any] | None = None, *, limit: int | None = None, newest_first: bool = True
    ) -> list[Row]:
        """Return at most `limit` rows whose columns equal `where`, in order of insertion (newest first by default)."""
        with self._open(table) as lines:
            rows = reversed(lines.rows.values()) if newest_first else iter(lines.rows.values())
            return [_copy(table, row) for row in islice((r for r in rows if matches(r, where or {})), limit)]

    def close(self) -> None:
        """Refuse all further operations. No file is open between operations."""
        self._closed = True

    @contextlib.contextmanager
    def _open(self, table: str) -> Iterator[_Table]:
        """Yield the table as it is now, with the lock held: every line that any process has written is read."""
        key_column(table)
        if self._closed:
            raise StoreError(f"The store {self._folder} is closed.", "Start LQMF again.")
        with self._guard, storage_errors(self._folder), self._lock:
            lines = self._tables[table]
            damage = lines.catch_up()
            if damage:
                aside = lines.mend()
                self._on_recovered(
                    f"{lines.path} was corrupt: {damage} of its lines were unreadable. It was kept as {aside.name}; "
                    f"the {len(lines.rows)} rows that could be read were kept."
                )
            yield lines


def _copy(table: str, row: Mapping[str, Any]) -> Row:
    """A copy of the row that its receiver may change, nested values included."""
    copied: Row = json.loads(json.dumps(complete(table, row)))
    return copied


class _Table:
    """A file, and the rows that its lines add up to. Every method expects the lock to be held."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self.rows: dict[str | int, Row] = {}
        self._head = b""  # the first line: names the format, and this very file
        self._end = 0  # bytes of whole lines read
        self._lines = 0

    def next_number(self) -> int:
        return int(next(reversed(self.rows), 0)) + 1

    def catch_up(self) -> int:
        """Read the lines appended since; the whole file if it was replaced. Return the number of unreadable lines."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            self._forget()
            return 0
        with file:
            head = file.readline()
            if head != self._head or os.fstat(file.fileno()).st_size < self._end:
                self._forget()
                self._head = head
            file.seek(self._end)
            lines, newline, _torn = file.read().rpartition(b"\n")
        self._end += len(lines) + len(newline)
        return sum(not self._read(line) for line in lines.split(b"\n")) if newline else 0

    def _read(self, line: bytes) -> bool:
        """Apply one line; False when it is not a line of this format. Raises StoreError for a newer format."""
        self._lines += 1
        try:
            self._apply(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        return True

    def _apply(self, change: dict[str, Any]) -> None:
        if "put" in change:
            self.rows.pop(change["put"], None)
            self.rows[change["put"]] = dict(change["row"])
        elif "set" in change:
            self.rows[change["set"]].update(change["row"])
        elif change["format"] > FORMAT:
            self._forget()
            raise StoreError(
                f"{self.path} was written by a newer LQMF: its format is number {change['format']}, "
                f"and this version knows {FORMAT}.",
                "Update LQMF, or choose another folder with --workspace.",
            )

    def append(self, change: dict[str, Any]) -> None:
        """Write one line to the disk, after the last whole line."""
        if self._lines > 2 * len(self.rows) + SLACK:
            self._rewrite()
        data = _line(change)
        if not self._end:
            self._head = _header()
            data = self._head + data
        with self.path.open("r+b" if self._end else "wb") as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._end += len(data)
        self._lines += 1
        self._apply(json.loads(json.dumps(change)))

    def mend(self) -> Path:
        """Put the file aside and write its readable rows to a new one; return the path of the old file."""
        aside = set_aside(self.path)
        self._rewrite()
        return aside

    def _rewrite(self) -> None:
        temporary = self.path.with_suffix(".jsonl.new")
        self._head = _header()
        with temporary.open("wb") as file:
            file.write(self._head)
            file.writelines(_line({"put": key, "row": row}) for key, row in self.rows.items())
            file.flush()
            os.fsync(file.fileno())
            self._end = file.tell()
        os.replace(temporary, self.path)
        self._lines = len(self.rows) + 1


def _header() -> bytes:
    return _line({"format": FORMAT, "file": secrets.token_hex(8)})


def _line(change: Mapping[str, Any]) -> bytes:
    return json.dumps(change, separators=(",", ":")).encode() + b"\n"
