"""Reads a store's rows through the table of columns: whatever was written into a row, who receives it can rely on the
types.

A value that its column cannot hold counts as not recorded, and a row without a value that its readers need is left out;
each such row is told of once, by name. Knows columns; does not know what the rows mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lqmf.store.base import Row, Store
from lqmf.store.tables import COLUMNS, Kind, key_column

LATEST = 253_370_764_800.0  # the year 9999 in seconds since 1970: no calendar goes further
LISTS = frozenset({"later_plans", "prompt"})  # JSON columns that hold a list; all others hold an object
NEEDED: Mapping[str, tuple[str, ...]] = {
    "jobs": ("status",),
    "artifacts": ("method", "bits", "type", "size_bytes"),
    "measurements": ("at",),
    "benchmarks": ("at",),
    "predictions": ("quantity", "predicted", "measured"),
}


class SoundStore:
    """A Store over another Store. `tell` gets a sentence on each row that holds nonsense, once; `left_out` has the
    (table, key) of the rows that no reader gets."""

    def __init__(self, store: Store, tell: Callable[[str], None]) -> None:
        self._store = store
        self._tell = tell
        self._told: set[tuple[str, str]] = set()
        self.left_out: set[tuple[str, str]] = set()

    def insert(self, table: str, row: Mapping[str, Any]) -> str | int:
        """Add a row and return its key."""
        self.left_out.discard((table, str(row.get(key_column(table)))))
        return self._store.insert(table, row)

    def update(self, table: str, key: str | int, changes: Mapping[str, Any]) -> None:
        """Change columns of the row with this key. Raises NotFound."""
        self._store.update(table, key, changes)

    def get(self, table: str, key: str | int) -> Row | None:
        """Return the row with this key; None where there is none that can be read."""
        row = self._store.get(table, key)
        return None if row is None else self._sound(table, row)

    def find(
        self, table: str, where: Mapping[str, Any] | None = None, *, limit: int | None = None, newest_first: bool = True
    ) -> list[Row]:
        """Return at most `limit` rows whose columns equal `where`, in order of insertion, those that can be read."""
        rows = self._store.find(table, where, limit=limit, newest_first=newest_first)
        return [sound for row in rows if (sound := self._sound(table, row)) is not None]

    def close(self) -> None:
        """Close the store below."""
        self._store.close()

    def _sound(self, table: str, row: Row) -> Row | None:
        wrong = [name for name, kind in COLUMNS[table].items() if not holds(name, kind, row.get(name))]
        row = {**row, **dict.fromkeys(wrong)}
        key = row[key_column(table)]
        lost = key is None or any(row[name] is None for name in NEEDED.get(table, ()))
        if lost:
            self.left_out.add((table, str(key)))
        if (wrong or lost) and (table, str(key)) not in self._told:
            self._told.add((table, str(key)))
            names = ", ".join(wrong) or "what it is"
            then = "It is left out." if lost else "It counts as not recorded."
            self._tell(f"The record of {key} in {table} is damaged: {names} cannot be read. {then}")
        return None if lost else row


def holds(name: str, kind: Kind, value: Any) -> bool:
    """Tell whether the column `name` of this kind may hold `value`. A time lies between 1970 and the year 9999."""
    if value is None:
        return True
    if kind == "json":
        return isinstance(value, list if name in LISTS else dict)
    if kind in ("text", "boolean"):
        return isinstance(value, str if kind == "text" else bool)
    if isinstance(value, bool) or not isinstance(value, int if kind == "integer" else int | float):
        return False
    if name == "at" or name.endswith("_at"):
        return 0 <= value < LATEST
    return not math.isnan(value)
