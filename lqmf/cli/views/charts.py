"""Small charts in the terminal: size against loss, a point an artifact. Only where a person sees them, on a terminal
wide enough; in a pipe and on a narrow terminal the tables say it all. Knows plotext; reads nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from lqmf.report.parts import scale
from lqmf.terminal import clean

LEAST_WIDTH, MOST_WIDTH, HEIGHT = 60, 96, 15
_UNSURE = 0.1  # of a row


@dataclass(frozen=True)
class Point:
    """One thing: its size in the unit of the axis, and what it lost in nats a token, both above 0."""

    name: str
    size: float
    kl_nats: float


class LossChart:
    """Points by size (linear) and by loss (logarithmic), with their names."""

    def __init__(self, points: Sequence[Point], size_title: str) -> None:
        self._points = [point for point in points if point.size > 0 and point.kl_nats > 0]
        self._title = size_title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        fits = options.is_terminal and options.max_width >= LEAST_WIDTH and "utf" in options.encoding.lower()
        if fits and len({(point.size, point.kl_nats) for point in self._points}) > 1:
            drawn = _drawn(self._points, self._title, min(options.max_width, MOST_WIDTH))
            if drawn is not None:
                yield drawn


def comparison_chart(document: Mapping[str, Any]) -> LossChart:
    """A comparison's artifacts; no points where they come from different models: their losses are not comparable."""
    rows = {row["id"]: row["values"] for row in document["rows"]}
    nothing = [None] * len(document["artifacts"])
    figures = (rows.get("size_bytes", nothing), rows.get("kl_divergence", nothing))
    sides = zip(document["artifacts"], *figures, strict=True)
    known = [(each, size, loss) for each, size, loss in sides if size and loss]
    one = len({each["model"].casefold() for each, _, _ in known}) == 1
    divisor, unit = scale(max((size for _, size, _ in known), default=0.0))
    points = [Point(each["type"] or each["name"], size / divisor, loss) for each, size, loss in known if one]
    return LossChart(points, f"size, {unit}")


def methods_chart(methods: Sequence[Mapping[str, Any]]) -> LossChart:
    """The means of the methods that the statistics compare: size as a share of the source's."""
    known = [each for each in methods if each["compression_ratio"] and each["kl_mean"]]
    points = [Point(each["type"] or each["method"], 100 / each["compression_ratio"], each["kl_mean"]) for each in known]
    return LossChart(points, "size, % of the source")


def _drawn(points: Sequence[Point], title: str, width: int) -> Text | None:
    """The chart; None where plotext cannot be loaded: it decorates, and nothing depends on it."""
    try:
        import plotext
    except (ImportError, OSError):
        return None
    plotext.terminal.limit(False, False)
    figure, plane = plotext.figure, _Plane.around(points, width)
    figure.clear.all()
    figure.theme("colorless")
    figure.plot_size(width, HEIGHT)
    figure.title("KL divergence, nats a token")
    figure.label(title)
    figure.ruler(0, 0).lim(plane.left, plane.right)
    figure.ruler(1, 0).lim(plane.low, plane.high)
    marks = plane.marks()
    figure.ruler(1, 0).ticks([math.log10(mark) for mark in marks], [f"{mark:.3g}" for mark in marks])
    for point, (text, alignment) in zip(points, _texts(points, plane), strict=True):
        figure.draw(figure.text(point.size, math.log10(point.kl_nats), text, alignment=alignment))
    return Text(clean(figure.build().string(colorless=True)).rstrip("\n"))


@dataclass(frozen=True)
class _Plane:
    """What the chart shows: sizes from `left` to `right`, powers of ten of losses from `low` to `high`, on so many
    characters."""

    left: float
    right: float
    low: float
    high: float
    columns: int
    rows: int

    @classmethod
    def around(cls, points: Sequence[Point], width: int) -> _Plane:
        """With room for names to the right."""
        sizes, heights = [point.size for point in points], [math.log10(point.kl_nats) for point in points]
        span = (max(sizes) - min(sizes)) or max(sizes)
        left, right = min(sizes) - span * 0.05, max(sizes) + span * 0.25
        return cls(left, right, min(heights) - 0.15, max(heights) + 0.15, width - 9, HEIGHT - 5)

    def places(self, point: Point) -> tuple[tuple[int, int], tuple[int, int]]:
        """The column and the row of a point: twice, where it lies so between two rows that either may be drawn."""
        across = (point.size - self.left) / (self.right - self.left) * (self.columns - 1)
        up = (math.log10(point.kl_nats) - self.low) / (self.high - self.low) * (self.rows - 1)
        return (round(across), round(up - _UNSURE)), (round(across), round(up + _UNSURE))

    def marks(self) -> list[float]:
        """Round losses for the axis."""
        steps = (1, 3) if self.high - self.low > 1 else (1, 1.5, 2, 3, 5, 7)
        powers = range(math.floor(self.low), math.ceil(self.high))
        made = [step * 10.0**power for power in powers for step in steps]
        return [mark for mark in made if self.low <= math.log10(mark) <= self.high]


def _texts(points: Sequence[Point], plane: _Plane) -> list[tuple[str, str]]:
    """What is written at each point, and on which side of it: its name goes to the left, or stays away, where another
    one stands in its place."""
    places = [plane.places(point) for point in points]
    taken = {place for both in places for place in both}
    texts = []
    for point, both in zip(points, places, strict=True):
        name = clean(point.name)
        steps = range(1, len(name) + 3)
        sides = {
            "left": {(column + step, row) for column, row in both for step in steps},
            "right": {(column - step, row) for column, row in both for step in steps},
        }
        side = next((side for side, cells in sides.items() if not cells & taken), None)
        taken |= sides[side] if side else set()
        texts.append({"left": (f"● {name}", "left"), "right": (f"{name} ●", "right"), None: ("●", "left")}[side])
    return texts
