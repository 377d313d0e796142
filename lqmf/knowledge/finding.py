"""Finds the passages that a question is about: by the rarity of the words that both have, names before text (BM25), and
by how near it is to the questions that a passage answers.

Knows words, their stems and the groups of assets/knowledge/synonyms.txt; knows no provider, no store, no dialogue.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache

from lqmf.knowledge.asked import Asked, learn
from lqmf.knowledge.passages import FOLDER, Passage, passages

MOST = 3  # passages for one question
NAME, TITLE, TEXT = 5.0, 2.0, 0.5  # how often a word counts in names, in the title, in the text
SATURATION, LENGTH = 1.5, 0.2  # BM25's k1 and b
WHOLE = 0.7  # what the rarity of a name counts once more, where the question has it whole
ASIDE = 0.5  # what a word counts that is in texts alone and names nothing
MENTION = 0.25  # of a name, that a word in a text counts for its rarity
LEAST = 0.25  # share of the question's rarity that a passage must hold to be about it; half where it has a name whole
SURE = 0.45  # the same share, for a line that no rule reads
ASKED = 10.0  # what nearness to a passage's questions counts beside its worth by words
NEAR, NEAREST = 0.25, 0.5  # nearness that makes a passage one to weigh; that makes a line a question for it, where
SHARED = 0.4  # of the line's rarity is in the passage too
SECOND = 0.55  # of the best one's worth, that a further passage needs
LONGEST_QUESTION = 1000  # characters that are read
_WORD = re.compile(r"[a-z0-9_.+/]*[a-z0-9_]")
_AMOUNT = re.compile(r"[\d.]+(?:[bkgmt]|gb|mb|gib)?")
_EMPTY_TEXT = """
a about after again all also always am an and another any anyone anything are as at be because been before being
better between but by can come comes compare compared could deal did difference differences different do does doesnt
doing done dont earlier else even ever every everyone exactly explain for from general get gets getting give given go
goes going gone good great had happen happened happens has have having he her here how i if in instead into is it its
just kind know knows less like llm llms lqmf made make makes many matter matters me mean means model models more most
much my need needed needs no normal not now of off ok old on one only or other our out over own per please point
possible question really recommend required right run runs said same say says seem set she should show so some
something stand still such sure take takes tell than that the their them then there these they thing things think this
those time to too understand us use used uses using usually versus very vs want was way we well went were what
whatever whats when where which while who whom whose why will with within without wonder work working works worth
would wrong yes yet you your today
"""
_EMPTY = frozenset(_EMPTY_TEXT.split())
_FREE = re.compile(r"(?:which|how|why|when|should|can|what should|is|are|does)\b")
_ENDINGS = ("ing", "ies", "est", "ed", "er", "ly", "es")


@dataclass(frozen=True)
class _Index:
    """The passages as the finder sees them: weighted counts of their terms, their names, and each term's rarity."""

    counts: tuple[dict[str, float], ...]
    names: tuple[tuple[str, ...], ...]
    lengths: tuple[int, ...]  # terms of each text
    mean: float  # of the lengths
    rarity: dict[str, float]
    unknown: float  # what a word that no passage has counts


def exact(question: str) -> Passage | None:
    """Return the passage that `question` names, where it says no more than the name; else None."""
    question = question[:LONGEST_QUESTION]
    raw, said = _spaced(question), " ".join(_terms(question))
    named = (one for one in passages() if raw in map(_spaced, one.words))
    meant = (one for one in passages() if said and said in (" ".join(_terms(word)) for word in one.words))
    return next(named, None) or next(meant, None)


def is_term(question: str) -> bool:
    """Return whether `question` only asks for the meaning of a term: then its passage is the answer."""
    return exact(question) is not None and _FREE.match(_spaced(question[:LONGEST_QUESTION])) is None


def find(question: str) -> list[Passage]:
    """Return up to MOST passages that `question` is about, the best first; empty where it is about none."""
    question = question[:LONGEST_QUESTION]
    if (named := exact(question)) is not None:
        return [named]
    index, terms = _index(), dict.fromkeys(_terms(question))
    text = f" {_stemmed(question)} "
    worth, near = [], _asked().nearness(question)
    for place, one in enumerate(passages()):
        whole, nearness = {name for name in index.names[place] if f" {name} " in text}, near.get(place, 0.0)
        if nearness >= NEAR or _held(index, place, terms) >= (LEAST / 2 if whole else LEAST):
            by_words = _worth(index, place, terms, whole)
            worth.append((by_words + ASKED * nearness, by_words, one))
    worth.sort(key=lambda ranked: (-ranked[0], ranked[2].name))
    return [
        one
        for value, by_words, one in worth[:MOST]
        if value >= worth[0][0] * SECOND or by_words >= worth[0][1] * SECOND
    ]


def is_known(line: str, words: int = 2) -> bool:
    """Return whether a line that no rule reads is surely a question for the passages: the best one has `words` of its
    words or more, and most of their rarity."""
    terms, index = dict.fromkeys(_terms(line[:LONGEST_QUESTION])), _index()
    place = next((passages().index(one) for one in find(line)), None)
    if place is None or sum(term in index.counts[place] for term in terms) < words:
        return False
    return _held(index, place, terms) >= SURE


def is_near(line: str) -> bool:
    """Return whether a line is near a question that the best passage answers, and shares words of meaning with it."""
    line = line[:LONGEST_QUESTION]
    place = next((passages().index(one) for one in find(line)), None)
    if place is None or _asked().nearness(line).get(place, 0.0) < NEAREST:
        return False
    return _held(_index(), place, dict.fromkeys(_terms(line))) >= SHARED


def shared_terms(question: str, words: str) -> set[str]:
    """Return the terms that a question has in common with `words`."""
    return set(_terms(question)) & set(_terms(words))


def _held(index: _Index, place: int, terms: dict[str, None]) -> float:
    """Return the share of a question's rarity whose words the passage at `place` has, from 0 to 1."""
    asked = sum(index.rarity.get(term, index.unknown) for term in terms)
    return sum(index.rarity[term] for term in terms if term in index.counts[place]) / asked if asked else 0.0


def _worth(index: _Index, place: int, terms: dict[str, None], whole: set[str]) -> float:
    """Return the BM25 score of the passage at `place`, and what add those of its names that the question has whole."""
    counts = index.counts[place]
    slack = SATURATION * (1 - LENGTH + LENGTH * index.lengths[place] / index.mean)
    score = sum(index.rarity[term] * counts[term] / (counts[term] + slack) for term in terms if term in counts)
    parts = ([term for term in name.split() if term in index.rarity] for name in whole)
    named = {term for name, terms in zip(whole, parts, strict=True) if len(terms) > name.count(" ") for term in terms}
    return score + WHOLE * sum(index.rarity[term] for term in named)


@cache
def _index() -> _Index:
    counts = tuple(_counted(one) for one in passages())
    named = Counter(term for one in passages() for term in set(_terms(_heading(one))))
    within = Counter(term for one in counts for term in one)
    rarity = {term: _rarity(len(counts), named[term], n - named[term]) for term, n in within.items()}
    names = tuple(tuple(_stemmed(word) for word in one.words) for one in passages())
    lengths = tuple(len(_terms(one.text)) for one in passages())
    return _Index(counts, names, lengths, sum(lengths) / len(lengths), rarity, max(rarity.values()))


@cache
def _asked() -> Asked:
    questions = [(place, question) for place, one in enumerate(passages()) for question in one.asked]
    return learn(questions, lambda word: (_term(word), word not in _EMPTY and not _AMOUNT.fullmatch(word)))


def _rarity(passages: int, named: int, said: int) -> float:
    """Return BM25's rarity of a term that `named` passages have in their names, and `said` others in their texts."""
    n = named + MENTION * said
    return (1.0 if named else ASIDE) * math.log(1 + (passages - n + 0.5) / (n + 0.5))


def _heading(passage: Passage) -> str:
    return f"{passage.title} {' '.join(passage.words)}"


def _counted(passage: Passage) -> dict[str, float]:
    """Return each term of a passage with its weighted count."""
    counts: Counter[str] = Counter()
    for text, weight in ((" ".join(passage.words), NAME), (passage.title, TITLE)):
        for term in set(_terms(text)):
            counts[term] += weight  # type: ignore[assignment]
    for term in _terms(passage.text):
        counts[term] += TEXT  # type: ignore[assignment]
    return dict(counts)


def _spaced(text: str) -> str:
    return " ".join(_words(text))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("'", ""))


def _stemmed(text: str) -> str:
    """Return the words of a text as the finder compares them, empty ones included."""
    return " ".join(map(_term, _words(text)))


def _terms(text: str) -> list[str]:
    """Return the words that carry meaning, each as its group's first or its stem; no amounts."""
    return [_term(word) for word in _words(text) if word not in _EMPTY and not _AMOUNT.fullmatch(word)]


def _term(word: str) -> str:
    groups = _groups()
    return groups.get(word) or groups.get(stem := _stem(word)) or stem


@cache
def _groups() -> dict[str, str]:
    """Return {word: the first word of its group}."""
    lines = (FOLDER / "synonyms.txt").read_text(encoding="utf-8").splitlines()
    groups = [line.split() for line in lines if line and not line.startswith("#")]
    return {word: group[0] for group in groups for word in group}


@lru_cache(maxsize=1 << 14)
def _stem(word: str) -> str:
    """Return a word without its ending; one with a digit or an underscore stays whole."""
    if len(word) < 4 or re.search(r"[\d_./+]", word):
        return word
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    ending = next((one for one in _ENDINGS if word.endswith(one) and len(word) - len(one) >= 3), "")
    word = word[: len(word) - len(ending)].rstrip("e") if ending else word.rstrip("e")
    return word[:-1] if ending and len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls" else word
