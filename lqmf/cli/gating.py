"""`--gate`: a command that ends with 1 unless every receipt passed its gate, for scripts. Knows a receipt's `gate`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from lqmf.errors import UsageError

Receipt = Mapping[str, Any]
Gate = Annotated[
    bool | None, typer.Option("--gate", help="Exit 1 unless the receipt passes its gate (settings gate_kl, gate_top1).")
]


def refuse_unmeasured(gate: bool | None, test: str | None) -> None:
    """Raises UsageError where nothing is to be measured that a gate could judge."""
    if gate and test == "none":
        raise UsageError("--gate judges a measurement, and --test none makes none.", "Leave one of them out.")


def exit_code(receipts: Iterable[Receipt | None], *, asked: bool) -> int:
    """0, or 1 where it was `asked` and a receipt failed its gate, or could not be judged."""
    return int(asked and not all(passed(receipt) for receipt in receipts))


def passed(receipt: Receipt | None) -> bool | None:
    """Whether a receipt passed; None where it is not known."""
    found: bool | None = ((receipt or {}).get("gate") or {}).get("passed")
    return found
