"""One comparison under way: the windows of each text, the figures measured in them, and the receipt's fields from
these.

Knows windows, logits and meters; no engine, no memory, no order of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.errors import MeasurementError
from lqmf.events import Report
from lqmf.quality.receipt import figures
from lqmf.quality.receipt.base_rows import Keeper
from lqmf.quality.receipt.divergence import DivergenceMeter
from lqmf.quality.receipt.noise_floor import NoiseFloor
from lqmf.quality.receipt.schedule import Step, StoppingRule, WindowSchedule
from lqmf.texts import evaluation
from lqmf.texts.evaluation import MAIN, Reading
from lqmf.texts.windows import first_scored, targets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Session:
    """A comparison of two models over the texts `files`, by name, in windows of `length` tokens as the reading `own`
    cuts them. `most`, `seconds` and `stop_at` limit the windows read: see WindowSchedule and StoppingRule. `keep` says
    where the base's logits of some windows are left: {"file": path, "windows": how many}."""

    def __init__(
        self,
        files: Mapping[str, Path],
        own: Reading,
        length: int,
        report: Report,
        *,
        most: int | None = None,
        seconds: float | None = None,
        stop_at: Mapping[str, float] | None = None,
        keep: Mapping[str, Any] | None = None,
    ) -> None:
        self._files, self._length = files, length
        self._missing: dict[str, str] = {}
        self._windows: dict[str, list[list[int]]] = {}
        for name in files:
            with self._or_left_out(name):
                self._windows[name] = own.windows(name, length)
        self.schedule = WindowSchedule(self._windows, report, most=most, seconds=seconds)
        self.read = dict.fromkeys(self._windows, 0)
        self.floor = NoiseFloor()
        self.keeper = Keeper(Path(keep["file"]), keep["windows"]) if keep else None
        self._meters = {name: DivergenceMeter() for name in self._windows}
        self._stopping_rule = StoppingRule(stop_at)

    def must_agree(self, one: Reading, other: Reading) -> None:
        """Leave out the texts that two models read as different tokens. Raises MeasurementError for the main text."""
        for name in list(self._windows):
            with self._or_left_out(name):
                one.must_be(other, name)

    @contextmanager
    def _or_left_out(self, name: str) -> Iterator[None]:
        """Leave the text `name` out if a MeasurementError is raised, and keep its message; raise it for the main
        text."""
        try:
            yield
        except MeasurementError as error:
            if name == MAIN:
                raise
            self._missing[name] = error.message
            if self._windows.pop(name, None):
                self.schedule.finish_text(name)

    def compare(self, step: Step, base: NDArray[np.float32], artifact: NDArray[np.float32]) -> None:
        """Count one window's logits (N, V) of both models, unless its text is left out; take the text out of the
        schedule when enough of it is read. Raises MeasurementError for NaN or infinite logits."""
        if step.text in self._missing:
            return
        meter = self._meters[step.text]
        meter.add(base, artifact, targets(step.window))
        self.read[step.text] += 1
        if self._stopping_rule.settles(meter, self.read[step.text]):
            self.schedule.finish_text(step.text)

    # ------------------------------------------------------------ what it comes to

    def compared(self) -> dict[str, dict[str, Any]]:
        """Return the receipt's figures of each text of which a window was read, by the text's name."""
        return {name: figures.compared(self._meters[name]) for name, windows in self.read.items() if windows}

    def told(self, measured: Mapping[str, Mapping[str, Any]], engine: str) -> dict[str, Any]:
        """Return the receipt's fields from the figures `measured` of each text; the main text's figures are on the top
        level too."""
        domains = {name: self._domain(name, measured.get(name)) for name in self._files}
        return {
            **domains[MAIN],
            "window_tokens": self._length,
            "windows": self.read[MAIN],
            "windows_in_text": len(self._windows[MAIN]),
            "seconds": self.schedule.seconds,
            "engine": engine,
            "domains": domains if len(domains) > 1 else {},
        }

    def _domain(self, name: str, measured: Mapping[str, Any] | None) -> dict[str, Any]:
        about = {"text": evaluation.told(self._files[name])}
        if measured is None:
            reason = self._missing.get(name, "its windows were not reached")
            return {**figures.unmeasured(reason), "tokens_evaluated": 0, **about, "reason": reason}
        tokens = self.read[name] * (self._length - 1 - first_scored(self._length))
        return {**measured, "tokens_evaluated": tokens, **about}
