"""Passages on quantization, of our own writing with their sources, found by the words of a question. Offline.

A passage is a file in assets/knowledge: `# Title`, a line `Words:` with the names that people use, the text, and
`Sources:`. Knows files and words; knows no provider and no store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lqmf import assets

FOLDER = assets.FOLDER / "knowledge"
MOST = 3  # passages for one question
TITLE, NAMED, SAID = 4.0, 3.0, 1.0  # what a word is worth: all of a passage's name, a part of one, a word of its text
LEAST = 3.0  # worth below which a passage is not about the question
SECOND = 0.5  # of the best one's worth, that a further passage needs
_FORM = re.compile(
    r"# (?P<title>[^\n]+)\nWords: (?P<words>[^\n]+)\n\n(?P<text>.+?)\n\nSources:\n(?P<sources>(?:- .+\n?)+)", re.S
)
_WORD = re.compile(r"[a-z0-9_.+-]*[a-z0-9_]")
_EMPTY_TEXT = """
a about again an and any are as at be better between by can compare compared different difference differences do does
explain for from get go good has have how i if in is it its kind know llm llms lqmf made make makes mean means model
models more much my need of on one or should so some tell than that the their them then there these they this those to
two understand use used using versus vs want was what when where which who why will with work works would you your
"""
_EMPTY = frozenset(_EMPTY_TEXT.split())
_FREE = re.compile(r"(?:which|how|why|when|should|can|what should|is|are|does)\b")


@dataclass(frozen=True)
class Passage:
    """The facts on one topic. `words` are its names, in small letters, the usual one first."""

    name: str
    title: str
    words: tuple[str, ...]
    text: str
    sources: tuple[str, ...]


@cache
def passages() -> tuple[Passage, ...]:
    """Return all passages, in order of their names. Raises ValueError for a file of another form."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.md")))


def _read(path: Path) -> Passage:
    form = _FORM.fullmatch(path.read_text(encoding="utf-8"))
    if form is None:
        raise ValueError(f"{path.name} is no passage")
    words = tuple(word.strip().lower() for word in form["words"].split(","))
    sources = tuple(line.removeprefix("- ") for line in form["sources"].strip().splitlines())
    return Passage(path.stem, form["title"], words, form["text"], sources)


def exact(question: str) -> Passage | None:
    """Return the passage that `question` names, where it says no more than the name; else None."""
    raw, said = _spaced(question), " ".join(_tokens(question))
    named = (one for one in passages() if raw in map(_spaced, one.words))
    meant = (one for one in passages() if said and said in (" ".join(_tokens(word)) for word in one.words))
    return next(named, None) or next(meant, None)


def is_term(question: str) -> bool:
    """Return whether `question` only asks for the meaning of a term: then its passage is the answer."""
    return exact(question) is not None and _FREE.match(_spaced(question)) is None


def find(question: str) -> list[Passage]:
    """Return up to MOST passages that `question` is about, the best first; empty where it is about none."""
    if (named := exact(question)) is not None:
        return [named]
    said = _tokens(question)
    worth = sorted(((_worth(one, said), one) for one in passages()), key=lambda pair: (-pair[0], pair[1].name))
    best = worth[0][0]
    return [one for value, one in worth[:MOST] if value >= max(LEAST, best * SECOND)]


def _worth(passage: Passage, said: list[str]) -> float:
    """Return how much of the question's words is the passage's: a name of several words counts for each of them."""
    text = f" {' '.join(said)} "
    names = [" ".join(_tokens(word)) for word in passage.words]
    whole = {name for name in names if name and f" {name} " in text}
    score = sum(TITLE * (1 + 0.5 * name.count(" ")) for name in whole)
    covered = {word for name in whole for word in name.split()}
    parts = {word for name in names for word in name.split()}
    known = set(_tokens(passage.text))
    for word in dict.fromkeys(said):
        if word not in covered:
            score += NAMED / 2 if word in parts else SAID / 2 if word in known else 0.0
    return score


def _spaced(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _tokens(text: str) -> list[str]:
    """Return the words that carry meaning, in small letters; a plural becomes its singular."""
    return [_singular(word) for word in _WORD.findall(text.lower()) if word not in _EMPTY]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "_s")) else word
