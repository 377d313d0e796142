"""Opens the store that the settings name. The only place that knows both backends; each is imported when needed."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from lqmf.store.base import Store


def open_store(backend: Literal["sqlite", "json"], folder: Path, on_recovered: Callable[[str], None]) -> Store:
    """Open the store in `folder` (`mcp/`), created or migrated as needed.

    `on_recovered` is called with a sentence for people when a corrupt file had to be set aside, now or later; the store
    is empty by then (or holds the readable rows) and may be written from within the call. Where nothing can be
    written, the store is a copy, read as ever; what is written to it lasts as long as the process. Raises StoreError
    when `folder` cannot be one, or a newer LQMF has written it.
    """
    if not _is_writable(folder):
        folder = _copied(folder)
    if backend == "json":
        from lqmf.store.json_files import JsonStore

        return JsonStore(folder, on_recovered)
    from lqmf.store.sqlite import SqliteStore

    return SqliteStore(folder / "lqmf.db", on_recovered)


def _is_writable(folder: Path) -> bool:
    """Return whether files can be made in `folder`, or in the folder that it would be made in, and its own be
    changed."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        return True  # a file is in the way: making the folder says so
    files = [place, *(place.iterdir() if place == folder.absolute() and os.access(place, os.R_OK) else ())]
    return all(os.access(one, os.W_OK) for one in files)


def _copied(folder: Path) -> Path:
    """Return a folder of this process's own with what can be read of `folder`."""
    place = Path(tempfile.mkdtemp(prefix="lqmf-store-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    if folder.is_dir():
        for one in folder.iterdir():
            if one.is_file() and os.access(one, os.R_OK):
                shutil.copyfile(one, place / one.name)
    return place


def may_have_running(backend: Literal["sqlite", "json"], folder: Path) -> bool:
    """Tell whether a job may be marked as running, without sqlite-utils: fast enough for every start of the chat.

    False means that there is no such job; True when in doubt: opening the store gives the answer.
    """
    if backend == "json":
        return (folder / "jobs.jsonl").exists()
    path = (folder / "lqmf.db").absolute()
    if not path.exists():
        return False
    import sqlite3

    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            running = connection.execute("SELECT 1 FROM jobs WHERE status = 'running' LIMIT 1")
            return running.fetchone() is not None
    except sqlite3.Error:
        return True
