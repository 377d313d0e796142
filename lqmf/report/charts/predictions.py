"""Draws predictions of plans against measurements: a row for each quantity, a point for each artifact, 1 where they
agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from lqmf.fit.predictions import LABELS, MISS, amount, percent
from lqmf.quality.measures import as_mapping, as_number
from lqmf.report.charts import marks
from lqmf.report.parts import (
    GRID,
    INK,
    Cell,
    Chart,
    Column,
    Table,
    axis,
    layout,
    logarithmic,
    number,
    significant,
    told,
    word,
)
from lqmf.report.subjects import Data, Subject
from lqmf.terminal import clean

TITLE = "Prediction against measurement"
COLUMNS = (
    Column("artifact"),
    Column("quantity"),
    Column("predicted", True),
    Column("measured", True),
    Column("measured / predicted", True),
    Column("within 10 %"),
)


@dataclass(frozen=True)
class Pair:
    """A prediction and its measurement, both above 0 and in the quantity's unit."""

    subject: Subject
    quantity: str
    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        return self.measured / self.predicted

    @property
    def title(self) -> str:
        return LABELS.get(self.quantity, clean(self.quantity))


def chart(data: Data) -> Chart:
    """Return the chart. A point left of 1 was predicted too high, a point right of it too low."""
    pairs = [pair for subject in data.subjects for pair in _pairs(subject)]
    if not pairs:
        told_of = "No plan's predictions have met their measurements: these artifacts were not made and tested by LQMF."
        return Chart("predictions", TITLE, "", missing=told_of, remedy="lqmf quantize MODEL")
    titles = [title for title in LABELS.values() if any(pair.title == title for pair in pairs)]
    titles += sorted({pair.title for pair in pairs} - set(titles))
    figure = {"data": _traces(data, pairs), "layout": _layout(titles, [pair.ratio for pair in pairs])}
    table = Table(TITLE, COLUMNS, [_row(pair) for pair in pairs])
    return Chart("predictions", TITLE, _summary(titles, pairs), figure, table, height=150 + 40 * len(titles))


def _pairs(subject: Subject) -> list[Pair]:
    found = []
    for quantity, found_of in as_mapping(subject.receipt.get("prediction")).items():
        row = as_mapping(found_of)
        predicted, measured = as_number(row.get("predicted")), as_number(row.get("measured"))
        if predicted and measured and predicted > 0 and measured > 0:
            found.append(Pair(subject, quantity, predicted, measured))
    return found


def _traces(data: Data, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    groups = list(dict.fromkeys((pair.subject.model, pair.subject.artifact.method) for pair in pairs))
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": told(f"{model}, {method}"),
            "x": [pair.ratio for pair in mine],
            "y": [told(pair.title) for pair in mine],
            "marker": marks.marker(data.colour(model), method, opacity=0.85),
            "hovertext": [_hover(pair) for pair in mine],
            "hoverinfo": "text",
            "showlegend": True,
        }
        for model, method in groups
        if (mine := [p for p in pairs if (p.subject.model, p.subject.artifact.method) == (model, method)])
    ]


def _layout(titles: Sequence[str], ratios: Sequence[float]) -> dict[str, Any]:
    whole = {"yref": "paper", "y0": 0, "y1": 1}
    met = {"type": "rect", "x0": 1 - MISS, "x1": 1 + MISS, **whole, "fillcolor": GRID, "layer": "below"}
    exact = {"type": "line", "x0": 1, "x1": 1, **whole, "line": {"color": INK, "width": 1.5}}
    shapes = [{**met, "line": {"width": 0}}, exact]
    x = logarithmic("measured / predicted; the band is within 10 %", [*ratios, 0.8, 1.25])
    order = {"categoryorder": "array", "categoryarray": [told(title) for title in titles]}
    return layout(x, axis("", type="category", autorange="reversed", **order), shapes=shapes)


def _hover(pair: Pair) -> str:
    values = f"predicted {amount(pair.quantity, pair.predicted)}, measured {amount(pair.quantity, pair.measured)}"
    return told(pair.subject.name, pair.title, values, percent(pair.ratio - 1, "+"))


def _summary(titles: Sequence[str], pairs: Sequence[Pair]) -> str:
    words = []
    for title in titles:
        ratios = [pair.ratio for pair in pairs if pair.title == title]
        words.append(f"{title} {significant(median(ratios))} times")
    met = sum(abs(pair.ratio - 1) <= MISS for pair in pairs)
    return (
        f"Measured values as multiples of the predicted ones; {met} of {len(pairs)} are within 10 %. In the middle: "
        f"{', '.join(words)}."
    )


def _row(pair: Pair) -> list[Cell]:
    return [
        word(pair.subject.name),
        word(pair.title),
        number(pair.predicted, amount(pair.quantity, pair.predicted)),
        number(pair.measured, amount(pair.quantity, pair.measured)),
        number(pair.ratio, significant(pair.ratio)),
        word("yes" if abs(pair.ratio - 1) <= MISS else "no"),
    ]
