"""Whether artifacts were measured, and passed their gates, for operations that fail where one did not. Knows a
receipt's figures and its `gate`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lqmf.quality.measures import unmeasured


def passed(receipt: Mapping[str, Any] | None) -> bool | None:
    """Return whether a receipt passed; None where it is not known."""
    found: bool | None = ((receipt or {}).get("gate") or {}).get("passed")
    return found


def all_measured(receipts: Iterable[Mapping[str, Any] | None]) -> bool:
    """Return whether every artifact that was tested has a figure of quality."""
    return all(not receipt or not receipt.get("checks") or unmeasured(receipt) is None for receipt in receipts)


def all_passed(receipts: Iterable[Mapping[str, Any] | None]) -> bool:
    """Return whether every receipt is known to have passed."""
    return all(passed(receipt) for receipt in receipts)
