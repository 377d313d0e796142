"""Turns a model's output into text that is safe to show: whole characters only, and nothing of a stop string. Knows no
engine.

A token may end in the middle of a character, and a stop string may begin in one token and end in another; so text that
could still become either is held back until it is decided.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """The text that is safe to show, from bytes as they come. After a stop string, `stopped` is True and no text
    follows."""

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._stop = tuple(s for s in stop if s)
        self._held = ""
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """Return the text that `data` makes certain, possibly empty."""
        return self._release(self._decode(data))

    def finish(self) -> str:
        """Return the text that was held back, now that no bytes follow."""
        safe = self._release(self._decode(b"", True))
        rest, self._held = self._held, ""
        return safe + rest

    def _release(self, text: str) -> str:
        if self.stopped:
            return ""
        self._held += text
        cut = min((at for s in self._stop if (at := self._held.find(s)) >= 0), default=None)
        if cut is not None:
            self.stopped = True
            safe, self._held = self._held[:cut], ""
            return safe
        keep = max((_overlap(self._held, s) for s in self._stop), default=0)
        safe, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return safe


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
