"""Measures how surprised a model is by a text. Knows logits and tokens, no engine.

Perplexity is exp(mean negative log-likelihood), natural logarithm, over the scored tokens. Its standard error is
llama-perplexity's: the perplexity times the standard error of that mean, the tokens taken as independent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK_ELEMENTS = 1 << 17  # logits widened to float64 at a time: 1 MB an array, which stays in a core's cache


def blocks(rows: int, vocabulary: int) -> Iterator[slice]:
    """Yield slices over the rows of (rows, vocabulary) logits, each small enough to be widened to float64 at once."""
    step = max(1, _BLOCK_ELEMENTS // vocabulary)
    return (slice(start, start + step) for start in range(0, rows, step))


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return log-probabilities (N, V), float64, of logits (N, V) of any float type; each row is shifted by its maximum
    first."""
    import numpy as np

    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def surprise_nats(log_probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the negative log-likelihood (N,), in nats, of the N tokens `targets` that came, under log-probabilities
    (N, V)."""
    import numpy as np

    found: NDArray[np.float64] = -log_probabilities[np.arange(len(targets)), targets]
    return found


def standard_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of the mean of independent `values` (N,), by llama-perplexity's formula: sqrt(variance
    / (N - 1)), with the variance over N. Infinite for fewer than two values or where one is not finite."""
    import numpy as np

    if values.size < 2:
        return math.inf
    with np.errstate(invalid="ignore"):
        return math.sqrt(float(values.var()) / (values.size - 1)) if np.isfinite(values).all() else math.inf


class Perplexity:
    """A running mean over tokens; of each token only its negative log-likelihood is kept."""

    def __init__(self) -> None:
        self._nll_nats: list[NDArray[np.float64]] = []

    @property
    def tokens(self) -> int:
        """Return the number of tokens scored."""
        return sum(part.size for part in self._nll_nats)

    def add(self, log_probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> None:
        """Count the N tokens `targets` that came, under log-probabilities (N, V)."""
        self.count(surprise_nats(log_probabilities, targets))

    def count(self, nll_nats: NDArray[np.float64]) -> None:
        """Count tokens by their negative log-likelihoods (N,), in nats."""
        self._nll_nats.append(nll_nats)

    @property
    def surprises(self) -> NDArray[np.float64]:
        """Return the negative log-likelihood (N,) of each token scored, in nats."""
        import numpy as np

        return np.concatenate(self._nll_nats)

    @property
    def value(self) -> float:
        """Return the perplexity: exp of the mean negative log-likelihood; infinity when it is beyond a float."""
        return _exp(float(self.surprises.mean()))

    @property
    def standard_error(self) -> float:
        """Return the standard error of `value`."""
        return self.value * standard_error(self.surprises)


def ratio(artifact: Perplexity, source: Perplexity) -> tuple[float, float]:
    """Return (artifact / source, its standard error) of two perplexities over the same tokens. The error is paired, so
    that tokens that are hard for both models cancel. (llama-perplexity writes it as the variances of both less twice
    their covariance, an equal value.)"""
    import numpy as np

    with np.errstate(invalid="ignore"):
        change = artifact.surprises - source.surprises
    value = _exp(float(change.mean()))
    return value, value * standard_error(change)


def _exp(mean: float) -> float:
    return math.exp(mean) if mean < 700 else math.inf
