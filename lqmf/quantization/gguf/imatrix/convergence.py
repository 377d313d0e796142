"""The estimate of how much an importance matrix would still change: two halves of the windows are compared.

Knows sums of squares; nothing of models, texts or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lqmf.quantization.gguf.imatrix.activations import Sums


class Halves:
    """The running sums of two halves of the windows. Windows go to the halves as A B B A, so that two or three kinds of
    text that take turns go to both.

    Weights with the same input are counted once. Sums are kept in float32, and added a window at a time.
    """

    def __init__(self) -> None:
        self.windows = 0
        self._halves: tuple[dict[tuple[str, ...], Sums], ...] = ({}, {})

    def add(self, window: Mapping[tuple[str, ...], Sums]) -> None:
        half = self._halves[(self.windows ^ self.windows >> 1) & 1]
        for names, (sums, counts) in window.items():
            if names in half:
                half[names][0].__iadd__(sums)
                half[names][1].__iadd__(counts)
            else:
                half[names] = (sums, counts)
        self.windows += 1

    def total(self) -> dict[tuple[str, ...], Sums]:
        """Return the sums of both halves together, for each set of weights."""
        first, second = self._halves
        found = dict(first)
        for names, (sums, counts) in second.items():
            found[names] = (first[names][0] + sums, first[names][1] + counts) if names in first else (sums, counts)
        return found

    def error(self) -> float:
        """Return the estimated distance between the importance and that from endless text: between 0 and 1.

        With a and b the importance by either half, each scaled to sum 1 over a matrix's columns, half their total
        variation distance: ¼ Σ|a - b|. The halves err independently, so their difference has twice the standard error
        of the whole. The mean over matrices, experts of one tensor taken together; an expert that a half has not met
        counts as ½.
        """
        import numpy as np

        first, second = self._halves
        if not first or not second:
            return 1.0
        errors = [_distance(first[names][0], second[names][0]) for names in first if names in second]
        unmet = [0.5] * len(first.keys() ^ second.keys())
        return float(np.mean(errors + unmet))


def _distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """¼ Σ|a - b| of scaled rows, the mean over rows: (n_matrices, n_columns) each."""
    import numpy as np

    totals = first.sum(1, keepdims=True), second.sum(1, keepdims=True)
    met = ((totals[0] > 0) & (totals[1] > 0))[:, 0]
    if not met.any():
        return 0.5
    distance = np.abs(first[met] / totals[0][met] - second[met] / totals[1][met]).sum(1) / 4
    return float((distance.sum() + 0.5 * (~met).sum()) / met.size)
