"""Progress events, typed, and the one bus they travel on.

Publishers (executor, worker, downloads) know the bus; subscribers (terminal, log file, store, metrics) know
the events. Nobody here prints or stores. Events cross the worker boundary as JSON lines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from blinker import Signal


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of a job. `at` is a Unix time in seconds."""

    job: str = ""
    at: float = field(default_factory=time.time)

    def to_json(self) -> dict[str, Any]:
        """Return the event as `{"event": "Progress", ...}`, one line of a log or of the worker's stream."""
        return {"event": type(self).__name__, **dataclasses.asdict(self)}


@dataclass(frozen=True, kw_only=True)
class JobStarted(Event):
    kind: str
    title: str
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class StageStarted(Event):
    """Stages of a quantization: resolve, download, convert, quantize, publish, test."""

    stage: str
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """`done` of `total` (None: not known) in `unit`: bytes, tensors, windows, tokens or steps."""

    stage: str
    done: float
    total: float | None = None
    unit: str = "steps"
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class StageFinished(Event):
    """`ok` is False for a stage that ended without what it was to bring."""

    stage: str
    seconds: float
    ok: bool = True


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """A sentence for people. `level` is info or warning."""

    text: str
    level: str = "info"


@dataclass(frozen=True, kw_only=True)
class Said(Event):
    """A piece of an answer in prose, to be shown as it comes."""

    text: str


@dataclass(frozen=True, kw_only=True)
class AttemptFailed(Event):
    """An attempt ended in `error` (as `LqmfError.to_json`); `retry_in_seconds` is None when it was the last."""

    attempt: int
    error: Mapping[str, Any]
    retry_in_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class JobFinished(Event):
    """`status` is done, failed, cancelled or interrupted."""

    status: str
    seconds: float
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None


Emit = Callable[[Event], None]

_TYPES = {cls.__name__: cls for cls in Event.__subclasses__()}


def from_json(document: Mapping[str, Any]) -> Event:
    """Return the event that `to_json` wrote. Raises KeyError for a name that is no event."""
    fields = dict(document)
    return _TYPES[fields.pop("event")](**fields)


class Bus:
    """Publish and subscribe; a subscriber is any callable that takes an Event."""

    def __init__(self) -> None:
        self._signal = Signal()

    def subscribe(self, subscriber: Callable[[Event], None]) -> Callable[[], None]:
        """Deliver every later event to `subscriber`; return the function that ends the subscription."""

        def receive(_sender: object, event: Event) -> None:
            subscriber(event)

        self._signal.connect(receive, weak=False)
        return lambda: self._signal.disconnect(receive)

    def publish(self, event: Event) -> None:
        """Hand `event` to every subscriber."""
        self._signal.send(self, event=event)


# ---------------------------------------------------------------- a stage


Report = Callable[[float, float | None, str], None]


@contextlib.contextmanager
def stage(emit: Emit, name: str, title: str, unit: str) -> Iterator[Report]:
    """Publish that a stage starts, and in the end how many seconds it took and whether the block succeeded; yield the
    function that reports (done, total, note) in `unit`."""
    emit(StageStarted(stage=name, title=title))
    started = time.monotonic()

    def report(done: float, total: float | None, note: str = "") -> None:
        emit(Progress(stage=name, done=done, total=total, unit=unit, note=note))

    ok = False
    try:
        yield report
        ok = True
    finally:
        emit(StageFinished(stage=name, seconds=time.monotonic() - started, ok=ok))
