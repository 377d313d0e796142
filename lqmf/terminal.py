"""Cleans text that others wrote of everything that a terminal would obey, as a whole or piece by piece. Pure.

Sequences by ECMA-48: CSI; strings (OSC, DCS, SOS, PM, APC) up to BEL or ST; and the short ones. Other control
characters are removed too, and so are the marks that turn the direction of text around (Unicode UAX #9).
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
    """Return `text` without escape sequences, direction marks and control characters; tab and newline stay."""
    return _CONTROL.sub("", _SEQUENCE.sub("", text.replace("\r\n", "\n")))


class Cleaner:
    """Cleans text that comes in pieces: a sequence that is cut by the end of a piece is held back until it is whole."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return the part of `piece`, and of the text held back before, that may be shown now."""
        text = self._held + piece
        begun = _OPEN.search(text)
        cut = begun.start() if begun and len(text) - begun.start() <= LONGEST_SEQUENCE else len(text)
        self._held = text[cut:]
        return clean(text[:cut])

    def end(self) -> str:
        """Return the text that is still held back, cleaned."""
        held, self._held = self._held, ""
        return clean(held)
