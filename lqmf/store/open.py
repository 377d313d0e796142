"""Opens the store that the settings name. The only place that knows both backends; each is imported when needed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from lqmf.store.base import Store


def open_store(backend: Literal["sqlite", "json"], folder: Path, on_recovered: Callable[[str], None]) -> Store:
    """Open the store in `folder` (`mcp/`), created or migrated as needed.

    `on_recovered` is called with a sentence for people when a corrupt file had to be set aside, now or later; the store
    is empty by then (or holds the readable rows) and may be written from within the call. Raises StoreError when the
    folder cannot be written, or a newer LQMF has written it.
    """
    if backend == "json":
        from lqmf.store.json_files import JsonStore

        return JsonStore(folder, on_recovered)
    from lqmf.store.sqlite import SqliteStore

    return SqliteStore(folder / "lqmf.db", on_recovered)


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
