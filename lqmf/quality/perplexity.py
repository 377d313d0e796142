"""How surprised a model is by a text. Knows logits and tokens, no engine.

Perplexity is exp(mean negative log-likelihood), natural logarithm, over the scored tokens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Logits (N, V) of any float type to log-probabilities (N, V), in float64, shifted by the row's maximum first."""
    import numpy as np

    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


class Perplexity:
    """A running mean over tokens, in constant memory."""

    def __init__(self) -> None:
        self.tokens = 0
        self._nll_nats = 0.0

    def add(self, log_probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> None:
        """Count (N, V) log-probabilities of the N tokens `targets` that came."""
        import numpy as np

        self._nll_nats -= float(log_probabilities[np.arange(len(targets)), targets].sum())
        self.tokens += len(targets)

    @property
    def value(self) -> float:
        """exp of the mean; infinity when it is beyond a float."""
        mean = self._nll_nats / self.tokens
        return math.exp(mean) if mean < 700 else math.inf
