"""The columns of each table, and the rule by which a row matches. Knows no storage; both backends read it.

A key of a row that is no column here, or whose value does not fit its column, is kept too (SQLite: in the column
`_extra`), so that a newer or an unforeseen record loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from lqmf.errors import StoreError
from lqmf.store.base import TABLES, Row

Kind = Literal["text", "integer", "real", "boolean", "json"]
EXACT = 2**53  # a larger integer is not exact as a double


def _columns(**kinds: str) -> dict[str, Kind]:
    return {name: kind for kind, names in kinds.items() for name in names.split()}  # type: ignore[misc]


COLUMNS: Mapping[str, Mapping[str, Kind]] = {
    "models": _columns(
        text="id kind commit architecture model_type dtype license access",
        integer="parameters weights_bytes context_length",
        real="at",
        json="info",
    ),
    "plans": _columns(text="id model method type device", integer="bits", real="at", json="plan"),
    "jobs": _columns(
        text="id kind title status stage model method artifact",
        integer="attempts owner_pid",
        real="started_at ended_at seconds owner_started",
        json="plan later_plans error result",
    ),
    "attempts": _columns(
        text="job status", integer="id attempt", real="started_at ended_at retry_in_seconds", json="error"
    ),
    "events": _columns(text="job event stage text level", integer="id", real="at seconds"),
    "artifacts": _columns(
        text="name path model commit method type created_at plan_id",
        integer="bits version size_bytes source_size_bytes",
        real="compression_ratio deleted_at",
        boolean="foreign",
        json="receipt plan versions",
    ),
    "measurements": _columns(
        text="artifact benchmark",
        integer="id tokens_evaluated",
        real="at perplexity kl_mean top1_agreement prompt_per_second generation_per_second",
        json="receipt",
    ),
    "turns": _columns(text="session text intent status reason", integer="id", real="at confidence", json="slots"),
    "predictions": _columns(
        text="job artifact model architecture method type device machine quantity",
        integer="id",
        real="at predicted uncorrected measured",
    ),
    "llm_calls": _columns(
        text="day provider model purpose outcome",
        integer="id input_tokens output_tokens characters",
        real="at seconds cost",
        json="prompt",
    ),
    "benchmarks": _columns(
        text="artifact job path depth",
        integer="id",
        real="at quality coherence generation_per_second",
        json="benchmark",
    ),
}


def key_column(table: str) -> str:
    """Return the name of the column that holds a table's key. Raises StoreError for an unknown table."""
    if table not in TABLES:
        raise StoreError(f"There is no table '{table}' in the store.", f"The tables are {', '.join(TABLES)}.")
    return TABLES[table] or "id"


def complete(table: str, row: Mapping[str, Any]) -> Row:
    """Return `row` with every column of its table: columns that are not set are None."""
    return {**dict.fromkeys(COLUMNS[table]), **row}


def own_key(table: str, row: Mapping[str, Any]) -> str | None:
    """Return the key in a row; None where the store numbers the rows. Raises StoreError when the key is missing."""
    column = key_column(table)
    if TABLES[table] is None:
        return None
    key = row.get(column)
    if not isinstance(key, str) or not key:
        raise StoreError(f"A row of '{table}' needs its '{column}', a text.", "This is a fault in LQMF: report it.")
    return key


def fits(kind: Kind, value: Any) -> bool:
    """Tell whether a column of this kind gives a stored value back unchanged."""
    if kind == "json" or value is None:
        return True
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "text":
        return isinstance(value, str) and _encodes(value)
    return (
        not isinstance(value, bool)
        and isinstance(value, int | float)
        and (abs(value) <= EXACT or abs(value) == math.inf)
    )


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, from an undecodable file name
        return False
    return True


def matches(row: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Tell whether the row's values equal those of `where`; True and 1 are different values, 4 and 4.0 are equal."""
    return all(
        row.get(name) == value and isinstance(row.get(name), bool) == isinstance(value, bool)
        for name, value in where.items()
    )
