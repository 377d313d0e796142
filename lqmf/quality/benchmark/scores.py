"""Scores how near an artifact's answer is to its source's, and how good it is by itself: figures from 0 to 1. Pure.

Both models answer greedily, so that the same files give the same answers and the same figures:

- ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004), F-measure with Porter's stemmer, by the package rouge-score;
- `ngram_cosine`: the cosine of the counts of character trigrams (lower case, white space as one blank);
- `same_beginning`: the share of the longer answer's tokens before the two answers part;
- `repetition`: 1 - distinct / all of the answer's token 4-grams (seq-rep-4, Welleck et al. 2019, arXiv:1908.04319);
- `fluency` = min(1, perplexity of the source's answer / perplexity of the artifact's), both under the source: 1 where
  the source finds the artifact's words no more surprising than its own;
- `agreement` = (ROUGE-L + ngram_cosine) / 2;
- `termination`: 1 where the artifact ended its answer when the source did, or was cut when the source was; else 0;
- `coherence` = (1 - repetition) * fluency;
- `quality` = 0.5 * agreement + 0.3 * coherence + 0.2 * termination.

An answer of no text, where the source gave one, has agreement, coherence and quality 0.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")  # kana, Han; all others
ROUGE = ("rouge1", "rouge2", "rougeL")
AGREEMENT, COHERENCE, TERMINATION = 0.5, 0.3, 0.2  # weights of `quality`
SCORES = (*ROUGE, "ngram_cosine", "embedding_cosine", "same_beginning", "fluency", "agreement", "termination",
          "coherence", "quality")  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A model's answer; `ended` where the model stopped by itself. `nll_nats` is the mean negative log-likelihood of
    its tokens under the source, in nats; None where the source did not read it, or there is nothing to read."""

    text: str
    tokens: tuple[int, ...]
    ended: bool
    nll_nats: float | None = None


def rouge(reference: str, answer: str) -> dict[str, float]:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L of `answer` against `reference`, F-measure; 1 where both have the same
    words."""
    if reference.split() == answer.split():  # also where neither holds a word that ROUGE counts
        return dict.fromkeys(ROUGE, 1.0)
    return {name: float(score.fmeasure) for name, score in _scorer().score(reference, answer).items()}


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGE), tokenizer=_Words())


class _Words:
    """Words of any script, Latin words by their stems; of scripts without spaces each character is a word. The
    package's own tokenizer knows a to z alone."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stem = PorterStemmer().stem

    def tokenize(self, text: str) -> list[str]:
        """Return the words of `text` in small letters, stemmed."""
        words = _WORD.findall(text.lower())
        return [self._stem(word) if len(word) > 3 and word.isascii() else word for word in words]


def ngram_cosine(one: str, other: str, n: int = 3) -> float:
    """Return the cosine of the counts of character n-grams, 0..1; 1 for two texts without n-grams."""
    first, second = _ngrams(one, n), _ngrams(other, n)
    if not first or not second:
        return float(not first and not second)
    dot = sum(count * second[gram] for gram, count in first.items())
    return min(1.0, dot / math.sqrt(_squares(first) * _squares(second)))


def _ngrams(text: str, n: int) -> Counter[str]:
    words = " ".join(text.lower().split())
    padded = f" {words} " if words else ""
    return Counter(padded[i : i + n] for i in range(len(padded) - n + 1))


def _squares(counts: Counter[str]) -> int:
    return sum(count * count for count in counts.values())


def repetition(tokens: Sequence[int], n: int = 4) -> float:
    """Return the share of n-grams of tokens that repeat an earlier one: 0 for none, near 1 for a loop."""
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def same_beginning(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the length of the common beginning over the longer sequence's length, 0..1; 1 where the two are equal."""
    longest = max(len(one), len(other))
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return same / longest if longest else 1.0


def fluency(artifact_nats: float | None, source_nats: float | None) -> float | None:
    """Return min(1, exp(source - artifact)) of two mean negative log-likelihoods under the source, in nats; None where
    either was not measured."""
    if artifact_nats is None or source_nats is None:
        return None
    return math.exp(min(0.0, source_nats - artifact_nats))


def scores(artifact: Answer, source: Answer, embedding_cosine: float | None = None) -> dict[str, float | None]:
    """Return every figure of SCORES for two answers to one prompt; a figure that was not measured is None."""
    overlap = {**rouge(source.text, artifact.text), "ngram_cosine": ngram_cosine(source.text, artifact.text)}
    agreement = (overlap["rougeL"] + overlap["ngram_cosine"]) / 2
    flow = 1.0 if artifact.tokens == source.tokens else fluency(artifact.nll_nats, source.nll_nats)
    coherence = None if flow is None else (1 - repetition(artifact.tokens)) * flow
    termination = float(artifact.ended == source.ended)
    quality = None
    if coherence is not None:
        quality = AGREEMENT * agreement + COHERENCE * coherence + TERMINATION * termination
    if not artifact.text.strip() and source.text.strip():
        agreement = coherence = quality = 0.0
    return {
        **overlap,
        "embedding_cosine": embedding_cosine,
        "same_beginning": same_beginning(artifact.tokens, source.tokens),
        "fluency": flow,
        "agreement": agreement,
        "termination": termination,
        "coherence": coherence,
        "quality": quality,
    }


def mean_scores(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Return the mean of each figure over the answers that have it; None where no answer has it."""
    found = {name: [value for row in rows if (value := row.get(name)) is not None] for name in SCORES}
    return {name: math.fsum(values) / len(values) if values else None for name, values in found.items()}
