"""Decides which windows of which text are read, in which order, and when enough windows are read.

The texts take turns, the first text (the main one of the receipt) twice in each round, so that a run that stops early
has read part of every text, and measured the beginning of what a longer run measures. Pure but for its clock; knows no
model.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lqmf.events import Report
from lqmf.quality.receipt.divergence import DivergenceMeter

FEWEST_ROUNDS = 2  # are read a little beyond the time: four windows of the first text, two of each other
OVERTIME_SECONDS = 15.0  # for these rounds, once the time is over; the very first window is read whatever the time
FIRST_LOOK = 8  # windows of a text before it may be enough; then at 16, 32, ..: runs of one model stop alike
ENOUGH = 0.05  # standard error of the mean KL, as a share of it
CERTAIN = 3.0  # standard errors between a figure and its limit

Window = Sequence[int]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Step:
    """One window (token ids) of the text called `text`."""

    text: str
    window: Window


def rounds(windows: Mapping[str, Sequence[Window]]) -> list[Step]:
    """Return all windows in the order in which they are read: one of each text in turn, and a second one of the first
    text."""
    left = {name: iter(each) for name, each in windows.items()}
    names = [*left, *list(left)[:1]]
    steps: list[Step] = []
    while left:
        for name in names:
            if name in left:
                window = next(left[name], None)
                if window is None:
                    del left[name]
                else:
                    steps.append(Step(name, window))
    return steps


@dataclass(frozen=True)
class StoppingRule:
    """The rule when enough windows of a text are read. `limits` are the gate's, by "kl_mean" and "top1"; None: never
    enough."""

    limits: Mapping[str, float] | None = None

    def settles(self, meter: DivergenceMeter, windows: int) -> bool:
        """Tell whether `windows` windows of a text are enough: the mean KL's standard error is at most ENOUGH of the
        mean, and no limit lies within CERTAIN standard errors of the figure that it bounds. Always False except at
        FIRST_LOOK windows, and each time they double."""
        if self.limits is None or not _is_look(windows):
            return False
        divergence = meter.divergence()
        if not divergence.standard_error <= ENOUGH * divergence.mean:
            return False
        found = {
            "kl_mean": (divergence.mean, divergence.standard_error),
            "top1": (meter.top1_agreement, meter.top1_error),
        }
        return all(
            abs(found[name][0] - limit) > CERTAIN * found[name][1]
            for name, limit in self.limits.items()
            if name in found
        )


def _is_look(windows: int) -> bool:
    return windows >= FIRST_LOOK and windows % FIRST_LOOK == 0 and (windows // FIRST_LOOK).bit_count() == 1


class WindowSchedule:
    """The queue of windows: hands them out until the time is over or no text needs more, and counts them.

    `most` is the number of windows in all; `seconds` None has no limit. `finish_text` takes the rest of a text out.
    """

    def __init__(
        self,
        windows: Mapping[str, Sequence[Window]],
        report: Report,
        *,
        most: int | None = None,
        seconds: float | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._ahead = deque(rounds(windows)[:most])
        self._report, self._clock = report, clock
        self._started = clock()
        self._seconds = math.inf if seconds is None else seconds
        self._owed = FEWEST_ROUNDS * (len(windows) + 1)
        self._given, self._done = 0, 0.0

    @property
    def seconds(self) -> float:
        """Return the seconds since the schedule began."""
        return self._clock() - self._started

    @property
    def over(self) -> bool:
        """Tell whether no more windows are to be read."""
        return not self._ahead or (not self._owing and self.seconds > self._seconds)

    @property
    def _owing(self) -> bool:
        """Tell whether a window is owed though the time may be over."""
        if self._given == 0:
            return True
        return self._owed > 0 and self.seconds <= max(0.0, self._seconds) + OVERTIME_SECONDS

    def steps(self, most: int | None = None, share: float = 1.0) -> Iterator[Step]:
        """Yield the next windows, at most `most` of them, until this `share` of the time left is over. The first
        FEWEST_ROUNDS rounds are yielded up to OVERTIME_SECONDS beyond the time, the first window in any case."""
        end = self.seconds + share * (self._seconds - self.seconds)
        while self._ahead and most != 0 and (self._owing or self.seconds <= end):
            self._owed -= 1
            self._given += 1
            most = None if most is None else most - 1
            yield self._ahead.popleft()

    def finish_text(self, text: str) -> None:
        """Read no more of `text`."""
        self._ahead = deque(step for step in self._ahead if step.text != text)

    def advance(self, part: float = 1.0) -> None:
        """Report that a window, or `part` of a window, was read."""
        self._done += part
        self._report(self._done, self._given + len(self._ahead), "")
