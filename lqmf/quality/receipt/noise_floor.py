"""Measures the smallest divergence that means anything here: the source against itself, computed in another way.

The beginning of a window is read again, a few tokens at a time with the earlier tokens in the cache, as when a model
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
    """A meter that is shown the source's windows as they are read, and reads the first `windows` of them again."""

    def __init__(self, windows: int = WINDOWS) -> None:
        self._meter = DivergenceMeter()
        self._left = windows

    def look(self, source: Engine, window: Sequence[int], rows: NDArray[np.float32], first: int | None = None) -> None:
        """Read the beginning of `window` again with `source`, and compare it with `rows`, the logits (N, V) that
        `source` gave at the scored positions, from `first` on (None: those of its second half). Does nothing when
        it has read `windows` of them. Raises MeasurementError for NaN or infinite logits."""
        import numpy as np

        if not self._left:
            return
        first, count = first_scored(len(window)) if first is None else first, min(POSITIONS, len(rows))
        (again,) = source.logits([window[: first + count]], first=first, step=STEP)
        targets = np.asarray(window[first + 1 : first + 1 + count], dtype=np.int64)
        self._meter.add(rows[:count], again, targets)
        self._left -= 1

    @property
    def kl_nats(self) -> float | None:
        """Return the mean KL in nats a token, set to 0 where rounding puts it below; None when no window was read."""
        return max(0.0, self._meter.divergence().mean) if self._meter.tokens else None
