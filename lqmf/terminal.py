"""Text that others wrote, without anything that a terminal would obey; whole, or as it comes in. Pure.

Sequences by ECMA-48: CSI; strings (OSC, DCS, SOS, PM, APC) up to BEL or ST; and the short ones. What is left of control
characters goes too, and so do the marks that turn the direction of text around (Unicode UAX #9).
"""

from __future__ import annotations

import re

LONGEST_SEQUENCE = 256  # characters that one may take to end; a longer one loses its beginning alone

_CSI = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*"
_STRING = r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*"
_SHORT = r"\x1b[ -/]*"
_SEQUENCE = re.compile(rf"{_CSI}[@-~]|{_STRING}(?:\x07|\x1b\\|\x9c)|{_SHORT}[0-OQ-WYZ\\`-~]")
_OPEN = re.compile(rf"(?:{_CSI}|{_STRING}\x1b?|{_SHORT}|\r)\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def clean(text: str) -> str:
    """`text` without escape sequences, control characters (but tab and newline) and direction marks."""
    return _CONTROL.sub("", _SEQUENCE.sub("", text.replace("\r\n", "\n")))


class Cleaner:
    """`clean` for what comes in pieces: a sequence that is cut by the end of one is held back until it is whole."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What of `piece`, and of what was held back, may be shown now."""
        text = self._held + piece
        begun = _OPEN.search(text)
        cut = begun.start() if begun and len(text) - begun.start() <= LONGEST_SEQUENCE else len(text)
        self._held = text[cut:]
        return clean(text[:cut])

    def end(self) -> str:
        """What was still held back."""
        held, self._held = self._held, ""
        return clean(held)
