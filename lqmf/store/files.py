"""The file operations of both backends: putting a corrupt file aside, and translating errors of the storage."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from lqmf.errors import FULL, StoreError


def set_aside(path: Path, companions: tuple[str, ...] = ()) -> Path:
    """Rename `path` to the first free `<name>.corrupt-<n>`, and its companions (`-wal`, ..) alike; return the new
    path."""
    aside = next(candidate for n in count(1) if not (candidate := path.with_name(f"{path.name}.corrupt-{n}")).exists())
    for suffix in (*companions, ""):
        with contextlib.suppress(FileNotFoundError):
            os.replace(path.with_name(path.name + suffix), aside.with_name(aside.name + suffix))
    return aside


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate errors of the operating system and of SQLite into StoreError, with a remedy."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"The store {path} cannot be used: {error}.", _remedy(error, path)) from error
    except OSError as error:
        raise StoreError(
            f"The store {path} cannot be used: {error.strerror or error}.", _remedy(error, path)
        ) from error


def _remedy(error: Exception, path: Path) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno in FULL):
        return "The disk is full: `lqmf disk` shows what can go."
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "Another process holds it: wait for it to end, then type the command again."
    return f"Check that {path.parent} is a folder that you can write to, or choose another with --workspace."
