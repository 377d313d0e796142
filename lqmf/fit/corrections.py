"""Learns from past jobs how to correct predictions: one short line for each quantity, which can be read and checked.

    ln(measured / predicted) = level + slope * (ln(predicted) - centre)

A ridge regression whose prior is that predictions are right: with few jobs it corrects little. Separate by machine,
device, method and quantity. Knows rows of predictions (`lqmf.fit.predictions.rows`), and no store.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any, NamedTuple

from lqmf.fit.predictions import LABELS, MISS, percent

LEAST = 3  # jobs before anything is corrected
NEWEST = 100  # jobs that are learnt from: drivers and libraries change
PRIOR_LEVEL = 2.0  # counts like so many jobs that were predicted exactly
PRIOR_SLOPE = 4.0  # likewise, with a model e times larger or smaller than the centre
STEEPEST = 0.5  # of a slope, either way: a larger prediction stays the larger one
FURTHEST = math.log(10)  # beyond it a prediction is not biased but wrong
SPREAD = 0.05  # the least standard deviation of residuals that is believed: three that agree may do so by chance
CUT = 4.685  # standard deviations from which Tukey's biweight counts nothing: 95 % efficient with normal residuals
TO_DEVIATION = 1.4826  # a normal distribution's standard deviation, in median absolute deviations
MEASURED_BY_TYPE = "kl_nats"  # a model's own figure is better than any correction: see `measured_losses`

Row = Mapping[str, Any]


class Key(NamedTuple):
    """The machine, device, method and quantity that a correction is learnt for."""

    machine: str
    device: str
    method: str
    quantity: str


@dataclass(frozen=True)
class Job:
    """One prediction and its measured value, both in the quantity's unit and above 0; `raw` is the prediction before
    any correction, `predicted` the prediction that was shown."""

    raw: float
    predicted: float
    measured: float


@dataclass(frozen=True)
class Line:
    """The line of a correction: all fields in ln. Beyond `low` and `high`, the smallest and largest predictions it was
    learnt from, the correction stays as it is at that end."""

    level: float
    slope: float
    centre: float
    low: float
    high: float

    def apply(self, predicted: float) -> float:
        """Return `predicted` corrected: above 0, and rising with `predicted`."""
        seen = min(max(math.log(predicted), self.low), self.high)
        shift = self.level + self.slope * (seen - self.centre)
        return predicted * math.exp(min(max(shift, -FURTHEST), FURTHEST))


@dataclass(frozen=True)
class Correction:
    """The correction of one quantity under one key. Errors are |measured / predicted - 1|, medians over the jobs."""

    key: Key
    jobs: tuple[Job, ...]

    @cached_property
    def line(self) -> Line | None:
        """Return the learnt line; None where there are too few jobs, or where `measured_losses` serves instead."""
        return None if self.key.quantity == MEASURED_BY_TYPE else learn(self.jobs)

    @property
    def ratio(self) -> float:
        """Return the median of measured / predicted, with uncorrected predictions."""
        return median(job.measured / job.raw for job in self.jobs)

    @property
    def error(self) -> float:
        """Return the median error of the predictions that were shown."""
        return _error((job.predicted, job.measured) for job in self.jobs)

    @property
    def worst(self) -> float:
        """Return the largest error of the predictions that were shown, with its sign: below 0 where less was
        measured."""
        return max((job.measured / job.predicted - 1 for job in self.jobs), key=abs)

    @property
    def error_before(self) -> float:
        """Return the median error of the uncorrected predictions."""
        return _error((job.raw, job.measured) for job in self.jobs)

    @cached_property
    def error_after(self) -> float | None:
        """Return the median error with each job corrected by what the other jobs teach (leave-one-out); None where
        there are too few of them."""
        if self.line is None or len(self.jobs) <= LEAST:
            return None
        others = ((job, learn(self.jobs[:i] + self.jobs[i + 1 :])) for i, job in enumerate(self.jobs))
        return _error((line.apply(job.raw), job.measured) for job, line in others if line)

    def describe(self) -> str:
        """Describe the correction in one line: "writing, gguf on cpu: measured 0.91 x predicted over 7 jobs (error 14 %
        -> 5 %)"."""
        label = LABELS.get(self.key.quantity, self.key.quantity)
        change = "" if self.error_after is None else f" -> {percent(self.error_after)}"
        many = "job" if len(self.jobs) == 1 else "jobs"
        return (
            f"{label}, {self.key.method} on {self.key.device}: measured {self.ratio:.2f} x predicted "
            f"over {len(self.jobs)} {many} (error {percent(self.error_before)}{change})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the correction's figures: errors as shares of the prediction; `corrected_error` is the honest,
        leave-one-out error."""
        return {
            **self.key._asdict(),
            "jobs": len(self.jobs),
            "missed": sum(abs(job.measured / job.predicted - 1) > MISS for job in self.jobs),
            "ratio": self.ratio,
            "median_error": self.error,
            "worst_error": self.worst,
            "uncorrected_error": self.error_before,
            "corrected_error": self.error_after,
            "description": self.describe(),
        }


@dataclass(frozen=True)
class Corrections:
    """All learnt corrections, by key."""

    by_key: Mapping[Key, Correction]

    def apply(self, quantity: str, predicted: float, *, machine: str, device: str, method: str) -> float:
        """Return a prediction corrected by past jobs, in its own unit; unchanged where too few jobs speak of it."""
        found = self.by_key.get(Key(machine, device, method, quantity))
        return found.line.apply(predicted) if found and found.line and predicted > 0 else predicted

    def describe(self) -> list[str]:
        """Describe each correction in a line, in the order of `predictions.LABELS`."""
        return [each.describe() for each in self.by_key.values()]


def fit(rows: Iterable[Row]) -> Corrections:
    """Learn a correction for each key from rows, newest first. Values that are not above 0 have no logarithm and are
    skipped."""
    groups: dict[Key, list[Job]] = defaultdict(list)
    for row in rows:
        raw, told, found = row.get("uncorrected") or row["predicted"], row["predicted"], row["measured"]
        if raw > 0 and told > 0 and found > 0:
            groups[Key(*(row[name] or "" for name in Key._fields))].append(Job(raw, told, found))
    order = list(LABELS)
    ranked = sorted(groups, key=lambda key: (order.index(key.quantity) if key.quantity in LABELS else len(order), key))
    return Corrections({key: Correction(key, tuple(groups[key][:NEWEST])) for key in ranked})


def learn(jobs: Sequence[Job]) -> Line | None:
    """Compute the weighted ridge regression in closed form; None for fewer than LEAST jobs. About their own centre,
    level and slope are independent."""
    if len(jobs) < LEAST:
        return None
    sizes = [math.log(job.raw) for job in jobs]
    residuals = [math.log(job.measured / job.raw) for job in jobs]
    weights = _weights(residuals)
    total = sum(weights)
    centre = sum(w * x for w, x in zip(weights, sizes, strict=True)) / total
    level = sum(w * r for w, r in zip(weights, residuals, strict=True)) / (total + PRIOR_LEVEL)
    leant = sum(w * (x - centre) * r for w, x, r in zip(weights, sizes, residuals, strict=True))
    spread = sum(w * (x - centre) ** 2 for w, x in zip(weights, sizes, strict=True))
    slope = min(max(leant / (spread + PRIOR_SLOPE), -STEEPEST), STEEPEST)
    seen = [x for w, x in zip(weights, sizes, strict=True) if w > 0]
    return Line(level, slope, centre, min(seen), max(seen))


def _weights(residuals: Sequence[float]) -> list[float]:
    """Return each residual's weight: 1 at the median, falling to 0 for residuals far out by the scatter of all (Tukey's
    biweight, one step from the median; Beaton and Tukey 1974)."""
    middle = median(residuals)
    typical = median(abs(r - middle) for r in residuals)
    reach = CUT * max(TO_DEVIATION * typical, SPREAD)
    return [max(0.0, 1 - ((r - middle) / reach) ** 2) ** 2 for r in residuals]


def _error(pairs: Iterable[tuple[float, float]]) -> float:
    return median(abs(measured / predicted - 1) for predicted, measured in pairs)


def measured_losses(rows: Iterable[Row], model: str) -> dict[str, float]:
    """Return KL divergences in nats a token by type, as measured for `model` itself: the median of each type's jobs.

    Other models' figures are not used: the loss of a type on one model says little of its loss on another.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["quantity"] == MEASURED_BY_TYPE and row["model"] == model and row["type"] and row["measured"] > 0:
            found[row["type"]].append(row["measured"])
    return {name: median(values) for name, values in found.items()}
