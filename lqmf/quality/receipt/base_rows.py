"""Keeps what a receipt's base predicts in its first windows, in a file, so that the comparison of the base with the
model that it was converted from does not compute it again. Knows windows and logits; no engine.

The file holds the logits of a window after the other, float32; what they are of stands beside it once all is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lqmf import workspace
from lqmf.quality.receipt.conversion import Batch, scored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class BaseRows:
    """The logits (N, V) of each window of `read`, at the positions that count, by the engine of this name, which
    differs from itself by `noise_floor` nats a token."""

    read: Batch
    rows: Iterable[NDArray[np.float32]]
    engine: str
    noise_floor: float | None


class Keeper:
    """Is shown a text's windows as the base reads them, and keeps the first `windows` of them in `file`. A disk without
    room ends it in silence: what is not kept is computed again."""

    def __init__(self, file: Path, windows: int) -> None:
        self._file, self._most = file, windows
        self._windows: list[list[int]] = []
        self._failed = False

    def look(self, window: Iterable[int], rows: NDArray[np.float32]) -> None:
        """Keep the logits (N, V) of `window`: as many of the last rows as a conversion is compared at."""
        if self._failed or len(self._windows) == self._most:
            return
        read = list(window)
        self._last = min(len(rows), scored(len(read), self._most, rows.shape[-1]))
        try:
            with self._file.open("ab") as opened:
                rows[-self._last :].tofile(opened)
        except OSError:
            self._failed = True
            self._file.unlink(missing_ok=True)
        self._windows.append(read)

    def finish(self, engine: str, noise_floor: float | None) -> None:
        """Write down what is in the file."""
        if self._failed or not self._windows:
            return
        first = len(self._windows[0]) - 1 - self._last
        about = {"windows": self._windows, "first": first, "engine": engine, "noise_floor": noise_floor}
        with suppress(OSError):
            workspace.keep_json(_about(self._file), about)


def kept(file: Path, windows: int) -> BaseRows | None:
    """Return what a Keeper left in `file`; None where that is not `windows` windows."""
    about = workspace.kept_json(_about(file))
    if len(about.get("windows", ())) != windows:
        return None
    read = Batch(tuple(map(tuple, about["windows"])), about["first"])
    return BaseRows(read, _rows(file, read), about["engine"], about["noise_floor"])


def _rows(file: Path, read: Batch) -> Iterator[NDArray[np.float32]]:
    """One window's logits at a time, so that the others take no memory."""
    import numpy as np

    count, positions = len(read.windows), len(read.windows[0]) - 1 - read.first
    each = file.stat().st_size // (count * _FLOAT_BYTES)
    for number in range(count):
        found: NDArray[np.float32] = np.fromfile(file, np.float32, each, offset=number * each * _FLOAT_BYTES)
        yield found.reshape(positions, -1)


def _about(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")
