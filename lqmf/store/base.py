"""The Store promise: rows in named tables, kept through crashes, written by several processes at once.

Does not know what the rows mean; the MemoryAgent does. Two backends keep it: SQLite and JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Row = dict[str, Any]

# table -> its key column; None: the store numbers the rows itself (column `id`, rising)
TABLES: Mapping[str, str | None] = {
    "models": "id",
    "plans": "id",
    "jobs": "id",
    "attempts": None,
    "events": None,
    "artifacts": "name",
    "measurements": None,
    "turns": None,
    "predictions": None,
    "llm_calls": None,
    "benchmarks": None,
}


class Store(Protocol):
    """A store of rows, which hold scalars, lists and dicts (JSON values). Its methods raise StoreError when the storage
    cannot be used."""

    def insert(self, table: str, row: Mapping[str, Any]) -> str | int:
        """Add a row and return its key. A row whose key exists is replaced."""
        ...

    def update(self, table: str, key: str | int, changes: Mapping[str, Any]) -> None:
        """Change columns of the row with this key. Raises NotFound."""
        ...

    def get(self, table: str, key: str | int) -> Row | None: ...

    def find(
        self, table: str, where: Mapping[str, Any] | None = None, *, limit: int | None = None, newest_first: bool = True
    ) -> list[Row]:
        """Return at most `limit` rows whose columns equal `where`, in order of insertion (newest first by default)."""
        ...

    def close(self) -> None: ...
