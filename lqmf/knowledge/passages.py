"""Passages on quantization, of our own writing with their sources. Offline.

A passage is a file in assets/knowledge: `# Title`, a line `Words:` with the names that people use, the text,
`Sources:`, and `Asked:` with questions that it answers, as people put them. Knows files; `finding` knows which is about
a question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lqmf import assets

FOLDER = assets.FOLDER / "knowledge"
_FORM = re.compile(
    r"# (?P<title>[^\n]+)\nWords: (?P<words>[^\n]+)\n\n(?P<text>.+?)\n\nSources:\n(?P<sources>(?:- [^\n]+\n)+)"
    r"\nAsked:\n(?P<asked>(?:- [^\n]+\n)+)",
    re.S,
)


@dataclass(frozen=True)
class Passage:
    """The facts on one topic. `words` are its names, in small letters, the usual one first."""

    name: str
    title: str
    words: tuple[str, ...]
    text: str
    sources: tuple[str, ...]
    asked: tuple[str, ...] = ()


@cache
def passages() -> tuple[Passage, ...]:
    """Return all passages, in order of their names. Raises ValueError for a file of another form."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.md")))


def _read(path: Path) -> Passage:
    form = _FORM.fullmatch(path.read_text(encoding="utf-8"))
    if form is None:
        raise ValueError(f"{path.name} is no passage")
    words = tuple(word.strip().lower() for word in form["words"].split(","))
    return Passage(path.stem, form["title"], words, form["text"], _listed(form["sources"]), _listed(form["asked"]))


def _listed(lines: str) -> tuple[str, ...]:
    return tuple(line.removeprefix("- ") for line in lines.splitlines())
