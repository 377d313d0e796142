"""What an engine that holds a model on this machine adds to the Engine promise. Knows nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from lqmf.inference.engine import Engine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LocalEngine(Engine, Protocol):
    """An engine that can be measured. `device` is where it runs: "cpu" or "gpu"."""

    device: str

    def logits(self, windows: Iterable[Sequence[int]], *, first: int = 0) -> Iterator[NDArray[np.float32]]:
        """For each window the logits at positions `first`..: (T - first, V) float32. What lies before `first` is read
        but not scored, which saves its part of the output layer: a third of the time of a small model."""
        ...

    def ends(self, token: int) -> bool:
        """Whether generation stops at `token`."""
        ...

    def __enter__(self) -> LocalEngine: ...
