"""The options that `quantize` and `plan` share, as slots; and those whose part this version lacks, refused by name.

Knows the design's command table; knows no typer.
"""

from __future__ import annotations

from typing import Any

from lqmf.errors import NotBuilt

# option -> what it would need
MISSING = {
    "imatrix": "--imatrix: importance matrices",
    "calibration": "--calibration: calibrating on a text",
}


def refuse_missing(**given: Any) -> None:
    """Raises NotBuilt that names the first option given whose part is not built."""
    for name, value in given.items():
        if value is not None:
            raise NotBuilt(f"This version does not have the part behind {MISSING[name]}.", "Leave the option out.")


def whole_bits(bits: float | None) -> int | None:
    """Bits as a slot. Raises NotBuilt for a fraction, which only a mix of types could meet."""
    if bits is None or bits == int(bits):
        return None if bits is None else int(bits)
    raise NotBuilt(f"This version cannot mix types to {bits:g} bits a weight yet.", "Take whole bits, like `--bits 4`.")
