"""Finds the Pareto front: the points that no other point beats. Pure; lower is better in both numbers."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]


def front(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points on the Pareto front, in order of the first number: no other point is as good in
    both numbers and better in one. Of equal points all are on the front."""
    best: list[int] = []
    for place in sorted(range(len(points)), key=lambda each: points[each]):
        lowest = points[best[-1]] if best else None
        if lowest is None or points[place][1] < lowest[1] or points[place] == lowest:
            best.append(place)
    return best
