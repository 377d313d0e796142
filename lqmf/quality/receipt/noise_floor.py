"""The smallest divergence that means anything here: the source against itself, computed in another way.

The beginning of a window is read again, a few tokens at a time behind what is kept of those before, as when a model
writes: the same predictions from other sums of rounded numbers. Knows an engine and a meter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lqmf.engines.promise import Engine
from lqmf.quality.receipt.divergence import DivergenceMeter
from lqmf.texts.windows import first_scored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOWS = 2
POSITIONS = 32  # of each window, from the first that counts
STEP = 32  # tokens at a time: few enough for llama.cpp to take the arithmetic that it writes with


class NoiseFloor:
    """Show it the source's windows as they are read; it reads the first few again."""

    def __init__(self) -> None:
        self._meter = DivergenceMeter()
        self._windows = 0

    def look(self, source: Engine, window: Sequence[int], rows: NDArray[np.float32], first: int | None = None) -> None:
        """`rows` are the logits (N, V) that `source` gave at the scored positions of `window`, from `first` on (None:
        those of its second half). Raises MeasurementError for logits that are no numbers."""
        import numpy as np

        if self._windows == WINDOWS:
            return
        first, count = first_scored(len(window)) if first is None else first, min(POSITIONS, len(rows))
        (again,) = source.logits([window[: first + count]], first=first, step=STEP)
        targets = np.asarray(window[first + 1 : first + 1 + count], dtype=np.int64)
        self._meter.add(rows[:count], again, targets)
        self._windows += 1

    @property
    def kl_nats(self) -> float | None:
        """Mean KL a token; None when nothing was seen. (Rounding can put a sum of nothing just below 0.)"""
        return max(0.0, self._meter.divergence().mean) if self._windows else None
