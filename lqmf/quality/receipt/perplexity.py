"""How surprised a model is by a text. Knows logits and tokens, no engine.

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
    """Rows of (rows, vocabulary) logits, as many at a time as are widened together."""
    step = max(1, _BLOCK_ELEMENTS // vocabulary)
    return (slice(start, start + step) for start in range(0, rows, step))


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Logits (N, V) of any float type to log-probabilities (N, V), in float64, shifted by the row's maximum first."""
    import numpy as np

    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def surprise_nats(log_probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """The negative log-likelihood (N,) of the N tokens `targets` that came, under log-probabilities (N, V)."""
    import numpy as np

    found: NDArray[np.float64] = -log_probabilities[np.arange(len(targets)), targets]
    return found


def standard_error(values: NDArray[np.float64]) -> float:
    """Of the mean of independent `values` (N,), as llama-perplexity has it: sqrt(variance / (N - 1)), with the variance
    over N. Infinite for a single one."""
    import numpy as np

    if values.size < 2:
        return math.inf
    with np.errstate(invalid="ignore"):
        return math.sqrt(float(values.var()) / (values.size - 1)) if np.isfinite(values).all() else math.inf


class Perplexity:
    """A running mean over tokens; of each only its surprise is kept."""

    def __init__(self) -> None:
        self._nll_nats: list[NDArray[np.float64]] = []

    @property
    def tokens(self) -> int:
        """How many tokens have been scored."""
        return sum(part.size for part in self._nll_nats)

    def add(self, log_probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> None:
        """Count (N, V) log-probabilities of the N tokens `targets` that came."""
        self.count(surprise_nats(log_probabilities, targets))

    def count(self, nll_nats: NDArray[np.float64]) -> None:
        """Count tokens by their negative log-likelihoods (N,)."""
        self._nll_nats.append(nll_nats)

    @property
    def surprises(self) -> NDArray[np.float64]:
        """The negative log-likelihood of each token scored (N,), in nats."""
        import numpy as np

        return np.concatenate(self._nll_nats)

    @property
    def value(self) -> float:
        """exp of the mean; infinity when it is beyond a float."""
        return _exp(float(self.surprises.mean()))

    @property
    def standard_error(self) -> float:
        """Of `value`."""
        return self.value * standard_error(self.surprises)


def ratio(artifact: Perplexity, source: Perplexity) -> tuple[float, float]:
    """artifact / source over the same tokens, and its standard error: paired, so that what is hard for both cancels.
    (llama-perplexity writes the same as the variances of both less twice their covariance.)"""
    import numpy as np

    with np.errstate(invalid="ignore"):
        change = artifact.surprises - source.surprises
    value = _exp(float(change.mean()))
    return value, value * standard_error(change)


def _exp(mean: float) -> float:
    return math.exp(mean) if mean < 700 else math.inf
