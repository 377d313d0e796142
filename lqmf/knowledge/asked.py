"""How near a line is to questions that passages answer: the cosine of rare words, pairs and runs of letters (TF-IDF).

Knows the questions and their features, so that other words of the same kind and slips of the pen still count; ranks
nothing.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

LETTERS = 4  # of a run of letters
PAIR, RUN = 0.7, 0.35  # what a pair of words and a run of letters count beside a word
FILLER, FILLERS = 0.4, 0.15  # what a word without a meaning of its own counts, and two of them together
FURTHER = 0.25  # what a passage's second nearest question adds
_WORD = re.compile(r"[a-z0-9_.+/]*[a-z0-9_]|<\w+>|\?\?+")


@dataclass(frozen=True)
class Asked:
    """The questions of all passages as weights of their features, each of length 1."""

    rarity: dict[str, float]
    places: dict[str, list[tuple[int, float]]]  # feature -> the questions that have it, with its weight there
    owners: tuple[int, ...]  # question -> place of its passage
    terms: Callable[[str], tuple[str, bool]]  # a word -> as it is compared, and whether it has a meaning of its own

    def nearness(self, line: str) -> dict[int, float]:
        """Return {place of a passage: how near its questions are to the line, from 0 to 1.25}."""
        found: defaultdict[int, float] = defaultdict(float)
        for feature, weight in _unit(_features(line, self.terms), self.rarity).items():
            for question, there in self.places.get(feature, ()):
                found[question] += weight * there
        near: defaultdict[int, list[float]] = defaultdict(list)
        for question, value in found.items():
            near[self.owners[question]].append(value)
        return {place: _two_best(values) for place, values in near.items()}


def learn(questions: list[tuple[int, str]], terms: Callable[[str], tuple[str, bool]]) -> Asked:
    """Return the index of the questions, each with the place of its passage."""
    counted = [_features(question, terms) for _, question in questions]
    within = Counter(feature for one in counted for feature in one)
    rarity = {feature: math.log(1 + len(counted) / n) for feature, n in within.items()}
    places: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for number, one in enumerate(counted):
        for feature, weight in _unit(one, rarity).items():
            places[feature].append((number, weight))
    return Asked(rarity, dict(places), tuple(place for place, _ in questions), terms)


def _two_best(values: list[float]) -> float:
    first, second = sorted([*values, 0.0], reverse=True)[:2]
    return first + FURTHER * second


def _features(line: str, terms: Callable[[str], tuple[str, bool]]) -> dict[str, float]:
    """Return {feature: what it counts}: words, pairs of words, runs of letters."""
    words = _WORD.findall(line.lower().replace("'", ""))
    told = [terms(word) for word in words]
    weights = {word: 1.0 if means else FILLER for word, means in told}
    weights |= {f"{one} {two}": PAIR if means or too else FILLERS for (one, means), (two, too) in pairwise(told)}
    runs = {run for word, (_, means) in zip(words, told, strict=True) if means for run in _runs(word)}
    return weights | {f"#{run}": RUN for run in runs}


def _runs(word: str) -> Iterator[str]:
    edged = f"^{word}$"
    return (edged[at : at + LETTERS] for at in range(max(1, len(edged) - LETTERS + 1)))


def _unit(features: dict[str, float], rarity: dict[str, float]) -> dict[str, float]:
    """Return the features weighed by their rarity, together of length 1; what no question has counts as the rarest."""
    most = max(rarity.values())
    weighed = {feature: weight * rarity.get(feature, most) for feature, weight in features.items()}
    length = math.sqrt(sum(value * value for value in weighed.values())) or 1.0
    return {feature: value / length for feature, value in weighed.items() if feature in rarity}
