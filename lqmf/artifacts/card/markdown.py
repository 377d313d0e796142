"""Writes Markdown in which texts from outside have no effect: names are data, whatever they hold. Knows no records."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MARKDOWN = re.compile(  # in the middle of a line: marks, links, HTML, entities, formulas, bare addresses
    r"([\\`*\[\]<>|&~$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=:)/(?=/)|(?<=www)\.|^[#+-])", re.IGNORECASE
)
WIDEST = 24  # characters of the longest bar
EIGHTHS = " ▏▎▍▌▋▊▉"


def plain(raw: str) -> str:
    """Return `raw` without control, format and surrogate characters; any run of white space becomes one space."""
    printable = "".join(" " if c.isspace() else c for c in raw if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(printable.split())


def text(raw: str) -> str:
    """Return plain text as Markdown that shows exactly that text, in a table's cell too."""
    return MARKDOWN.sub(r"\\\1", plain(raw))


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], right: Iterable[int] = ()) -> str:
    """Return a Markdown table; the cells are Markdown already. The columns with indices in `right` are aligned to the
    right."""
    sides = tuple("---:" if index in set(right) else "---" for index in range(len(head)))
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, sides, *rows))


def fence(language: str, code: str) -> str:
    """Return a block of code, in a fence longer than any in the code."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{code}\n{marks}"


def bar(value: float, most: float) -> str:
    """Return `value` as a bar of block characters, the longest for `most`; plain text, so it shows everywhere."""
    eighths = round(max(0.0, min(1.0, value / most)) * WIDEST * 8) if most > 0 else 0
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "") or "▏"
