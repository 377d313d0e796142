"""One stage of a measurement, told in events. Knows events and a clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from lqmf.events import Emit, Progress, StageFinished, StageStarted

Report = Callable[[float, float | None, str], None]


@contextlib.contextmanager
def stage(emit: Emit, name: str, title: str, unit: str) -> Iterator[Report]:
    """Tell that a stage starts and, when it succeeds, how long it took; the value given reports (done, total, note)."""
    emit(StageStarted(stage=name, title=title))
    started = time.monotonic()

    def report(done: float, total: float | None, note: str = "") -> None:
        emit(Progress(stage=name, done=done, total=total, unit=unit, note=note))

    yield report
    emit(StageFinished(stage=name, seconds=time.monotonic() - started))
