"""How far a quantized model's predictions are from its source's. Knows logits and tokens, no engine and no file.

KL(P || Q) in nats a token, P the source and Q the quantized model, over the second half of each window: the sum over
the vocabulary of P (log P - log Q). It is llama-perplexity's measure, without its file of logits and without that
file's 16-bit rounding. Both models' logits of one window are in memory at a time; of each token only its KL is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lqmf.errors import MeasurementError
from lqmf.quality.perplexity import Perplexity, log_softmax
from lqmf.records import Divergence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK_ELEMENTS = 1 << 21  # logits widened to float64 at a time: 16 MB an array, whatever the vocabulary


def kl_nats(log_p: NDArray[np.float64], log_q: NDArray[np.float64]) -> NDArray[np.float64]:
    """KL(P || Q) of each row, from log-probabilities (N, V) to (N,). What P never says (log_p of minus infinity) adds
    nothing; what P says and Q never does makes it infinite."""
    import numpy as np

    said = log_p > -np.inf
    difference = np.subtract(log_p, log_q, out=np.zeros_like(log_p), where=said)
    total: NDArray[np.float64] = (np.exp(log_p) * difference).sum(axis=-1)
    return total


class DivergenceMeter:
    """Add windows; read the totals at any moment."""

    def __init__(self) -> None:
        self.source, self.artifact = Perplexity(), Perplexity()
        self._kl_nats: list[NDArray[np.float64]] = []
        self._same_top = 0

    @property
    def tokens(self) -> int:
        """How many tokens have been scored."""
        return self.source.tokens

    def add(self, p: NDArray[np.float32], q: NDArray[np.float32], targets: NDArray[np.int64]) -> None:
        """Count the logits (N, V) of source `p` and artifact `q` at N positions, and the N tokens that came next.
        Raises MeasurementError when either holds a value that is not finite."""
        import numpy as np

        for name, logits in (("source", p), ("artifact", q)):
            if not (logits < np.inf).all():  # minus infinity is a probability of 0, as some models mask tokens
                raise MeasurementError(f"The {name} gives predictions that are not numbers (NaN or infinite).", _BROKEN)
        for rows in _blocks(*p.shape):
            log_p, log_q = log_softmax(p[rows]), log_softmax(q[rows])
            self.source.add(log_p, targets[rows])
            self.artifact.add(log_q, targets[rows])
            self._kl_nats.append(kl_nats(log_p, log_q))
            self._same_top += int((p[rows].argmax(axis=-1) == q[rows].argmax(axis=-1)).sum())

    @property
    def top1_agreement(self) -> float:
        """The share of tokens, 0..1, at which both models would choose the same next token."""
        return self._same_top / self.tokens

    def divergence(self) -> Divergence:
        """The distribution of KL over the scored tokens. The standard error is that of the mean of independent tokens,
        as llama-perplexity gives it: sqrt(variance / (n - 1)), with the variance over n."""
        import numpy as np

        kl = np.concatenate(self._kl_nats)
        p50, p90, p99 = (float(v) for v in np.percentile(kl, (50, 90, 99)))
        error = math.sqrt(float(kl.var()) / (kl.size - 1)) if kl.size > 1 else math.inf
        return Divergence(float(kl.mean()), error, p50, p90, p99, float(kl.max()))


_BROKEN = "The file is damaged, or its weights overflow in this type: lqmf verify NAME, then another --type."


def _blocks(rows: int, vocabulary: int) -> Iterator[slice]:
    step = max(1, _BLOCK_ELEMENTS // vocabulary)
    return (slice(start, start + step) for start in range(0, rows, step))
