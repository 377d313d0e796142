"""Measures how far a quantized model's predictions are from its source's. Knows logits and tokens; no engine, no file.

KL(P || Q) in nats a token, P the source and Q the quantized model, over the second half of each window: the sum over
the vocabulary of P (log P - log Q). It is llama-perplexity's measure, without its file of logits and without that
file's 16-bit rounding. Both models' logits of one window are in memory at a time; four numbers are kept of each token.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lqmf.errors import MeasurementError
from lqmf.quality.receipt.perplexity import Perplexity, blocks, ratio, standard_error
from lqmf.records import Divergence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_THREADS = 4  # NumPy lets others run while it computes


@dataclass(frozen=True)
class Pair:
    """The predictions of two models for the same N tokens, as arrays (N,): KL(P || Q) and each model's negative
    log-likelihood of the token that came, float64 in nats, and whether both models' most likely tokens are equal."""

    kl_nats: NDArray[np.float64]
    source_nats: NDArray[np.float64]
    artifact_nats: NDArray[np.float64]
    same_top: NDArray[np.bool_]


def pair(p: NDArray[np.float32], q: NDArray[np.float32], targets: NDArray[np.int64]) -> Pair:
    """Return the Pair for logits (N, V) of source `p` and artifact `q`, and the N tokens `targets` that came next.
    Tokens to which P gives probability 0 (minus infinity, as some models mask tokens) add nothing to KL; a token that P
    allows and Q rules out makes KL infinite. Raises MeasurementError for NaN or +infinity."""
    import numpy as np

    rows = np.arange(len(targets))
    likeliest_p, likeliest_q = p.argmax(axis=-1), q.argmax(axis=-1)
    must_be_numbers("source", p[rows, likeliest_p])
    must_be_numbers("artifact", q[rows, likeliest_q])
    wide_p = np.subtract(p, p[rows, likeliest_p, None], dtype=np.float64)
    wide_q = np.subtract(q, q[rows, likeliest_q, None], dtype=np.float64)
    weights, total_q = np.exp(wide_p), np.log(np.exp(wide_q).sum(axis=-1))
    mass = weights.sum(axis=-1)
    total_p = np.log(mass)
    source, artifact = total_p - wide_p[rows, targets], total_q - wide_q[rows, targets]
    change = np.subtract(wide_p, wide_q, out=np.zeros_like(wide_p), where=weights > 0)
    kl = np.einsum("nv,nv->n", weights, change) / mass - total_p + total_q
    return Pair(kl, source, artifact, likeliest_p == likeliest_q)


class DivergenceMeter:
    """Running totals of two models' predictions: add windows, and read the totals at any moment."""

    def __init__(self) -> None:
        self.source, self.artifact = Perplexity(), Perplexity()
        self._kl_nats: list[NDArray[np.float64]] = []
        self._same_top = 0

    @property
    def tokens(self) -> int:
        """Return the number of tokens scored."""
        return self.source.tokens

    def add(self, p: NDArray[np.float32], q: NDArray[np.float32], targets: NDArray[np.int64]) -> None:
        """Count the logits (N, V) of source `p` and artifact `q` at N positions, and the N tokens `targets` that came
        next. Raises MeasurementError for NaN or +infinity."""
        parts = list(blocks(*p.shape))
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1, len(parts))) as pool:
            for found in pool.map(lambda rows: pair(p[rows], q[rows], targets[rows]), parts):
                self.source.count(found.source_nats)
                self.artifact.count(found.artifact_nats)
                self._kl_nats.append(found.kl_nats)
                self._same_top += int(found.same_top.sum())

    @property
    def top1_agreement(self) -> float:
        """Return the share of tokens, 0..1, at which both models would choose the same next token."""
        return self._same_top / self.tokens

    @property
    def top1_error(self) -> float:
        """Return the standard error of `top1_agreement`, tokens taken as independent: sqrt(p (1 - p) / (n - 1))."""
        share = self.top1_agreement
        return math.sqrt(share * (1 - share) / (self.tokens - 1)) if self.tokens > 1 else math.inf

    def divergence(self) -> Divergence:
        """Return the distribution of KL over the scored tokens, in nats, with the standard error of its mean."""
        import numpy as np

        kl = np.concatenate(self._kl_nats)
        p50, p90, p99 = (float(v) for v in np.percentile(kl, (50, 90, 99)))
        return Divergence(float(kl.mean()), standard_error(kl), p50, p90, p99, float(kl.max()))

    def perplexity_ratio(self) -> tuple[float, float]:
        """Return (perplexity of the artifact / perplexity of the source, its paired standard error)."""
        return ratio(self.artifact, self.source)

    def right_token(self) -> tuple[float, float, float]:
        """Return (mean, root mean square, standard error of the mean) of the change in the probability (0..1) of the
        token that came, artifact less source."""
        import numpy as np

        change = np.exp(-self.artifact.surprises) - np.exp(-self.source.surprises)
        return float(change.mean()), math.sqrt(float(np.square(change).mean())), standard_error(change)


def must_be_numbers(name: str, likeliest: NDArray[np.float32]) -> None:
    """Raise MeasurementError if `likeliest`, the greatest logit (N,) of each position, holds NaN or +infinity."""
    import numpy as np

    if not (likeliest < np.inf).all():  # a NaN counts as the greatest
        raise MeasurementError(
            f"The {name} gives predictions that are not numbers (NaN or infinite).",
            "The file is damaged, or its weights overflow in this type: lqmf verify NAME, then another --type.",
        )
