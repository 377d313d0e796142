"""Chooses on which side of each point its name stands, so that names cover neither one another nor other points. Pure.

Works on a plot of a typical size; on a smaller plot the page leaves names out. Greedy: takes the first side that is
free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH, HEIGHT = 960.0, 300.0  # of the plot, pixels
LETTER, LINE, POINT = 6.4, 15.0, 9.0  # of a name's letters, and how far from its middle a point reaches
Box = tuple[float, float, float, float]  # left, top, right, bottom


def beside(x: Sequence[float], y: Sequence[float], names: Sequence[str], logarithmic: tuple[bool, bool]) -> list[str]:
    """Return plotly's `textposition` for each point. Below and to the left come first: a front's steps leave to the
    right and come from above. A name without room on any side stands below its point."""
    places = list(zip(_pixels(x, logarithmic[0], WIDTH), _pixels(y, logarithmic[1], -HEIGHT), strict=True))
    taken: list[Box] = [(left - POINT, top - POINT, left + POINT, top + POINT) for left, top in places]
    sides = []
    for (left, top), name in zip(places, names, strict=True):
        boxes = _boxes(left, top, len(name) * LETTER)
        side = next((side for side, box in boxes.items() if not any(_meet(box, other) for other in taken)), None)
        taken += [boxes[side]] if side else []
        sides.append(side or "bottom center")
    return sides


def _pixels(values: Sequence[float], logarithmic: bool, length: float) -> list[float]:
    scaled = [math.log10(value) for value in values] if logarithmic else list(values)
    low, span = min(scaled), (max(scaled) - min(scaled)) or 1.0
    return [(value - low) / span * length * 0.8 for value in scaled]


def _boxes(x: float, y: float, width: float) -> dict[str, Box]:
    half, near = width / 2, POINT + 1
    return {
        "bottom center": (x - half, y + near, x + half, y + near + LINE),
        "middle left": (x - near - width, y - LINE / 2, x - near, y + LINE / 2),
        "top center": (x - half, y - near - LINE, x + half, y - near),
        "middle right": (x + near, y - LINE / 2, x + near + width, y + LINE / 2),
    }


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
