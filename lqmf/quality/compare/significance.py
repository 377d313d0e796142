"""Tests whether two figures differ by more than chance explains. Pure statistics; knows no receipt.

Every test is two-sided at 5 %. A test gives None where it cannot be made: no error bar, too few runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

Z = 1.96  # of a normal distribution
# Student's t, two-sided 5 %, by degrees of freedom from 1
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def critical_t(freedom: float) -> float:
    """Return the least |t| that is significant, for at least one degree of freedom; fractions are rounded down."""
    return _T[int(freedom) - 1] if freedom < len(_T) + 1 else Z * (1 + 1 / freedom)


def by_error(one: float, one_error: float | None, other: float, other_error: float | None) -> bool | None:
    """Tell whether two means with these standard errors differ: z = difference / sqrt(sum of squares). The means are
    taken as independent; for means on one text this is cautious, because tokens that are hard for both models cancel.
    None where an error is missing or not finite."""
    if one_error is None or other_error is None or not math.isfinite(one_error + other_error):
        return None
    spread = math.hypot(one_error, other_error)
    return abs(one - other) > Z * spread if spread else one != other


def by_runs(one: Sequence[float], other: Sequence[float]) -> bool | None:
    """Tell whether the means of two groups of runs differ: Welch's t on their logarithms, because speeds differ by
    factors. None for fewer than two runs in a group, or a value that is not above zero."""
    if min(len(one), len(other)) < 2 or min(*one, *other) <= 0:
        return None
    first, second = [math.log(v) for v in one], [math.log(v) for v in other]
    a, b = variance(first) / len(first), variance(second) / len(second)
    if a + b == 0:
        return fmean(first) != fmean(second)
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    return abs(fmean(first) - fmean(second)) / math.sqrt(a + b) > critical_t(max(1.0, freedom))


def by_pairs(changes: Sequence[float]) -> bool | None:
    """Tell whether the mean of paired differences is other than zero: Student's t; None for fewer than three pairs."""
    if len(changes) < 3:
        return None
    spread = math.sqrt(variance(changes) / len(changes))
    return abs(fmean(changes)) > critical_t(len(changes) - 1) * spread if spread else fmean(changes) != 0


def share_error(share: float, count: int) -> float | None:
    """Return the standard error of a share (0..1) of `count` independent cases, never below that of one case in
    `count`; None for no cases."""
    if count < 1:
        return None
    least = 1 / count
    kept = min(max(share, least), 1 - least) if count > 1 else 0.5
    return math.sqrt(kept * (1 - kept) / count)
