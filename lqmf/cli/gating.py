"""`--gate`: a command that ends with 1 unless every receipt passed its gate, for scripts."""

from __future__ import annotations

from typing import Annotated

import typer

from lqmf.errors import UsageError
from lqmf.understanding.slot_table import BY_NAME

Gate = Annotated[bool | None, typer.Option("--gate", help=BY_NAME["gate"].help)]


def refuse_unmeasured(gate: bool | None, test: str | None) -> None:
    """Raises UsageError where nothing is to be measured that a gate could judge."""
    if gate and test == "none":
        raise UsageError("--gate judges a measurement, and --test none makes none.", "Leave one of them out.")
