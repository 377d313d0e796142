"""`--gate`: a command that ends with 1 unless every receipt passed its gate, for scripts."""

from __future__ import annotations

from typing import Annotated

import typer

from lqmf.errors import UsageError

Gate = Annotated[
    bool | None, typer.Option("--gate", help="Exit 1 unless the receipt passes its gate (settings gate_kl, gate_top1).")
]


def refuse_unmeasured(gate: bool | None, test: str | None) -> None:
    """Raises UsageError where nothing is to be measured that a gate could judge."""
    if gate and test == "none":
        raise UsageError("--gate judges a measurement, and --test none makes none.", "Leave one of them out.")
