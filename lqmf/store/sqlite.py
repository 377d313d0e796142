"""The SQLite backend: one database in WAL mode, migrated when opened, set aside when corrupt.

Knows tables and columns; does not know what a row means. An acknowledged row survives a kill and a power cut
(synchronous=FULL); several processes and threads may write at once, each waiting its turn.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from lqmf.errors import NotFound, StoreError
from lqmf.store.base import TABLES, Row
from lqmf.store.files import set_aside, storage_errors
from lqmf.store.migrations import migrate
from lqmf.store.sqlite_library import Database
from lqmf.store.tables import COLUMNS, complete, fits, key_column, matches, own_key

T = TypeVar("T")

PATIENCE_SECONDS = 60.0  # how long a writer waits for the others
CHECK_BELOW_BYTES = 32 << 20  # up to this size every page is looked at when opening: 15 ms for 19 MB
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
EXTRA = "_extra"


class Damaged(sqlite3.DatabaseError):
    """PRAGMA quick_check or integrity_check found a fault."""


class SqliteStore:
    """A Store in the database `path`. `on_recovered` gets a sentence when a corrupt database was set aside."""

    def __init__(self, path: Path, on_recovered: Callable[[str], None]) -> None:
        self._path = path
        self._on_recovered = on_recovered
        self._guard = threading.RLock()
        self._db: Database | None = None
        with self._guard, storage_errors(path):
            self._reopen("quick_check")

    def insert(self, table: str, row: Mapping[str, Any]) -> str | int:
        """Add a row and return its key. A row whose key exists is replaced, and counts as the newest."""
        key = own_key(table, row)
        values = _encode(table, row)
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" * len(values))
        sql = f'INSERT OR REPLACE INTO "{table}" ({names}) VALUES ({marks})'
        number = self._run(lambda db: db.execute(sql, list(values.values())).lastrowid)
        return int(number) if key is None else key

    def update(self, table: str, key: str | int, changes: Mapping[str, Any]) -> None:
        """Change columns of the row with this key; the key stays. Raises NotFound."""
        column = key_column(table)

        def change(db: Database) -> None:
            with _transaction(db):
                found = _select(db, table, key)
                if found is None:
                    raise NotFound(f"There is no '{key}' in {table}.", "`lqmf history` shows what there is.")
                values = _encode(table, {**found, **changes, column: key})
                assignments = ", ".join(f'"{name}" = ?' for name in values)
                db.execute(f'UPDATE "{table}" SET {assignments} WHERE "{column}" = ?', [*values.values(), key])

        self._run(change)

    def get(self, table: str, key: str | int) -> Row | None:
        """Return the row with this key, with all its columns, or None."""
        key_column(table)
        return self._run(lambda db: _select(db, table, key))

    def find(
        self, table: str, where: Mapping[str, Any] | None = None, *, limit: int | None = None, newest_first: bool = True
    ) -> list[Row]:
        """Return at most `limit` rows whose columns equal `where`, in order of insertion (newest first by default)."""
        key_column(table)
        wanted = where or {}
        condition, parameters = _narrow(table, wanted)
        order = "DESC" if newest_first else "ASC"
        sql = f'SELECT * FROM "{table}"{condition} ORDER BY rowid {order}'

        def select(db: Database) -> list[Row]:
            rows = (_decode(table, row) for row in _dicts(db.execute(sql, parameters)))
            return list(islice((row for row in rows if matches(row, wanted)), limit))

        return self._run(select)

    def close(self) -> None:
        """Close the database; the last process to close it writes the write-ahead log into it."""
        with self._guard:
            if self._db is not None:
                self._db.close()
                self._db = None

    # ------------------------------------------------------------ opening and recovering

    def _run(self, operation: Callable[[Database], T]) -> T:
        """Run `operation`, and once more if the database turns out to be corrupt or was put aside by another
        process."""
        with self._guard, storage_errors(self._path):
            if self._db is None:
                raise StoreError(f"{self._path} is closed.", "Start LQMF again.")
            if _inode(self._path) != self._inode:
                self._reopen("quick_check")
            try:
                return operation(self._db)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
            self._reopen("integrity_check")
            return operation(self._db)

    def _reopen(self, check: str) -> None:
        """Open and migrate under a lock that only openers take, so that no two processes set aside or create at
        once."""
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        notice = ""
        with FileLock(self._path.with_name(self._path.name + ".lock"), poll_interval=0.01):
            try:
                self._db = _connect(self._path, check)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                aside = set_aside(self._path, ("-wal", "-shm"))
                self._db = _connect(self._path, check)
                notice = (
                    f"The database {self._path} was corrupt ({error}). It was kept as {aside.name}; a new one begun."
                )
            self._inode = _inode(self._path)
        if notice:
            self._on_recovered(notice)


def _connect(path: Path, check: str) -> Database:
    connection = sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db = Database(connection, recursive_triggers=False, execute_plugins=False)
        if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if check == "integrity_check" or path.stat().st_size <= CHECK_BELOW_BYTES:
            _check(db, check)
        migrate(db)
    except BaseException:
        connection.close()
        raise
    return db


def _check(db: Database, pragma: str) -> None:
    fault = db.execute(f"PRAGMA {pragma}(1)").fetchone()[0]
    if fault != "ok":
        raise Damaged(" ".join(fault.split()))


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return isinstance(error, Damaged) or getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def _transaction(db: Database) -> Iterator[None]:
    """Read and then write as one transaction; IMMEDIATE, because a reader that starts to write would be refused, not
    wait."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.conn.in_transaction:
            db.execute("ROLLBACK")


# ---------------------------------------------------------------- rows


def _encode(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as SQL values, every column named; a value without a column, or that does not fit it, goes to `_extra` as
    JSON."""
    values: dict[str, Any] = dict.fromkeys(COLUMNS[table])
    extra: dict[str, Any] = {}
    for name, value in row.items():
        kind = COLUMNS[table].get(name)
        if kind is None or not fits(kind, value):
            extra[name] = value
        elif kind == "json":
            values[name] = None if value is None else json.dumps(value)
        else:
            values[name] = value
    if TABLES[table] is None:
        del values["id"]
        extra.pop("id", None)
    return {**values, EXTRA: json.dumps(extra) if extra else None}


def _decode(table: str, values: Mapping[str, Any]) -> Row:
    row = complete(table, {})
    for name, value in values.items():
        kind = COLUMNS[table].get(name, "text")
        if value is not None and kind in ("json", "boolean"):
            value = _document(value) if kind == "json" else bool(value)
        row[name] = value
    extra = _document(row.pop(EXTRA, None))
    return {**row, **extra} if isinstance(extra, dict) else row


def _document(text: Any) -> Any:
    """Return the document that a JSON column holds; what is no JSON is given back as it is."""
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text


def _narrow(table: str, where: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The part of `where` that SQL can decide with an index, and its parameters; `matches` decides the rest."""
    parts, parameters = [], []
    for name, value in where.items():
        kind = COLUMNS[table].get(name, "json")
        if kind == "json" or not fits(kind, value):
            continue
        parts.append(f'"{name}" IS NULL' if value is None else f'"{name}" = ?')
        parameters += [] if value is None else [value]
    return (" WHERE " + " AND ".join(parts) if parts else ""), parameters


def _select(db: Database, table: str, key: str | int) -> Row | None:
    if not fits("text", key) and isinstance(key, str):  # no row has a name that is no text
        return None
    rows = _dicts(db.execute(f'SELECT * FROM "{table}" WHERE "{key_column(table)}" = ?', [key]))
    return next((_decode(table, row) for row in rows), None)


def _dicts(cursor: sqlite3.Cursor) -> Iterator[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return (dict(zip(names, values, strict=True)) for values in cursor)
