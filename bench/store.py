"""What the store costs: rows a second through each backend, against sqlite3 itself with the same durability.

    python bench/store.py [rows]

Every row is on the disk before the next is written (WAL, synchronous=FULL, one commit a row; fsync for JSON): that is
what a record of a job has to be worth. The last line is the ceiling, all rows in one `executemany`.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lqmf.store.open import open_store

ROWS = [{"job": f"j{n % 50}", "at": float(n), "event": "StageStarted", "stage": "convert"} for n in range(5000)]


def seconds(work: Callable[[list[dict[str, Any]]], None], rows: list[dict[str, Any]]) -> float:
    """The quickest of three runs."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        work(rows)
        times.append(time.perf_counter() - begun)
    return min(times)


def connect(folder: Path) -> sqlite3.Connection:
    """sqlite3 as it comes, with our durability."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
        "CREATE TABLE events (id INTEGER PRIMARY KEY, job, at, event, stage); CREATE INDEX j ON events (job)"
    )
    return connection


SQL = "INSERT INTO events (job, at, event, stage) VALUES (:job, :at, :event, :stage)"


def raw(folder: Path, together: bool) -> Callable[[list[dict[str, Any]]], None]:
    """Insert with sqlite3: a commit for each row, or one for all."""
    connection = connect(folder)

    def one_by_one(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            connection.execute(SQL, row)

    def many(rows: list[dict[str, Any]]) -> None:
        connection.execute("BEGIN")
        connection.executemany(SQL, rows)
        connection.execute("COMMIT")

    return many if together else one_by_one


def ours(folder: Path, backend: Literal["sqlite", "json"]) -> Callable[[list[dict[str, Any]]], None]:
    """Insert through the Store promise."""
    store = open_store(backend, folder, print)

    def insert(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            store.insert("events", row)

    return insert


def main() -> None:
    """Print rows a second and the ratio of each time to that of sqlite3, a commit a row."""
    rows = ROWS[: int(sys.argv[1])] if len(sys.argv) > 1 else ROWS[:1000]
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / part for part in "abcd"]
        for folder in folders:
            folder.mkdir()
        ways = {
            "sqlite3, a commit a row": raw(folders[0], together=False),
            "lqmf sqlite": ours(folders[1], "sqlite"),
            "lqmf json": ours(folders[2], "json"),
            "sqlite3, executemany": raw(folders[3], together=True),
        }
        taken = {way: seconds(work, rows) for way, work in ways.items()}
    base = taken["sqlite3, a commit a row"]
    for way, each in taken.items():
        print(f"{way:26} {len(rows) / each:10,.0f} rows/s   ratio {each / base:6.2f}")
    print(json.dumps({way: each / base for way, each in taken.items()}))


if __name__ == "__main__":
    main()
