"""Patterns that are compiled when they are first used, so that starting the program costs nothing for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property


class Pattern:
    """A regular expression with the methods of `re.Pattern` that the rules need."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self.pattern = pattern
        self.flags = flags

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """Return the expression, ready for use."""
        return re.compile(self.pattern, self.flags)

    def search(self, text: str, start: int = 0) -> re.Match[str] | None:
        """Search `text` from `start` on as `re.Pattern.search` does."""
        return self.compiled.search(text, start)

    def match(self, text: str, start: int = 0) -> re.Match[str] | None:
        """Match `text` from `start` on as `re.Pattern.match` does."""
        return self.compiled.match(text, start)

    def fullmatch(self, text: str) -> re.Match[str] | None:
        """Match the whole of `text` as `re.Pattern.fullmatch` does."""
        return self.compiled.fullmatch(text)

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """Return the matches in `text` as `re.Pattern.finditer` does."""
        return self.compiled.finditer(text)

    def sub(self, replacement: str | Callable[[re.Match[str]], str], text: str) -> str:
        """Replace the matches in `text` as `re.Pattern.sub` does."""
        return self.compiled.sub(replacement, text)

    def subn(self, replacement: str, text: str) -> tuple[str, int]:
        """Replace the matches in `text` as `re.Pattern.subn` does; return the text and the number of matches."""
        return self.compiled.subn(replacement, text)

    def split(self, text: str) -> list[str]:
        """Split `text` at the matches as `re.Pattern.split` does."""
        return self.compiled.split(text)


def words(text: str) -> frozenset[str]:
    """Return the words of a text, as a set."""
    return frozenset(text.split())
