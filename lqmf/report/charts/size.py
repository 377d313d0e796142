"""Draws size against loss, with the Pareto front of each model: files that no smaller file matches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

from lqmf.report import pareto
from lqmf.report.charts import marks
from lqmf.report.parts import (
    Cell,
    Chart,
    Column,
    Table,
    layout,
    logarithmic,
    number,
    scale,
    series,
    significant,
    told,
    word,
)
from lqmf.report.subjects import Data, Subject
from lqmf.units import file_size

TITLE = "Size against loss"
COLUMNS = (
    Column("artifact"),
    Column("model"),
    Column("size", True),
    Column("KL divergence", True),
    Column("± standard error", True),
    Column("Pareto front"),
)


def chart(data: Data) -> Chart:
    """Return the chart. Lower and further to the left is better."""
    drawn = [subject for subject in data.subjects if marks.kl(subject)]
    notes = marks.without(data.subjects, drawn, "kl_divergence", "mean")
    if not drawn:
        return Chart(
            "size", TITLE, "", missing="No artifact has a measured loss.", notes=notes, remedy="lqmf test NAME"
        )
    fronts = _fronts(drawn)
    best = [subject for front in fronts for subject in front]
    if len({subject.ground[1:] for subject in drawn}) > 1:
        notes.append("Not all were measured on the same text and windows: fronts are drawn among those that were.")
    return Chart(
        "size",
        TITLE,
        _summary(drawn, best),
        _figure(data, drawn, fronts),
        Table(TITLE, COLUMNS, [_row(subject, subject in best) for subject in drawn]),
        notes,
    )


def _fronts(drawn: Sequence[Subject]) -> list[list[Subject]]:
    """The front of each group that can be compared: the same source, text and windows."""
    groups: dict[Hashable, list[Subject]] = defaultdict(list)
    for subject in drawn:
        groups[subject.ground].append(subject)
    return [
        [group[i] for i in pareto.front([(each.artifact.size_bytes, marks.kl(each) or 0.0) for each in group])]
        for group in groups.values()
        if len(group) > 1
    ]


def _figure(data: Data, drawn: Sequence[Subject], fronts: Sequence[Sequence[Subject]]) -> dict[str, Any]:
    divisor, unit = scale(max(subject.artifact.size_bytes for subject in drawn))
    x = logarithmic(f"size of the file, {unit}", [subject.artifact.size_bytes / divisor for subject in drawn])
    y = logarithmic(marks.LOSS, [marks.kl(subject) or 0.0 for subject in drawn])
    traces = [*_lines(data, fronts, divisor), *_points(data, drawn, divisor)]
    return {"data": traces, "layout": layout(x, y)}


def _lines(data: Data, fronts: Sequence[Sequence[Subject]], divisor: float) -> list[dict[str, Any]]:
    """Steps: between two files of a front, the smaller file is the best that there is."""
    several = len({front[0].model for front in fronts}) > 1
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": told(f"Pareto front, {front[0].model}" if several else "Pareto front"),
            "x": [subject.artifact.size_bytes / divisor for subject in front],
            "y": [marks.kl(subject) for subject in front],
            "line": {"shape": "hv", "dash": "dot", "width": 2, "color": series(data.colour(front[0].model))},
            "hoverinfo": "skip",
        }
        for front in fronts
        if len(front) > 1
    ]


def _points(data: Data, drawn: Sequence[Subject], divisor: float) -> list[dict[str, Any]]:
    sizes = [subject.artifact.size_bytes / divisor for subject in drawn]
    losses = [marks.kl(subject) or 0.0 for subject in drawn]
    errors = [subject.found("kl_divergence", "standard_error") or 0.0 for subject in drawn]
    hover = [
        told(subject.name, file_size(subject.artifact.size_bytes), f"KL {significant(loss)} ± {significant(error, 2)}")
        for subject, loss, error in zip(drawn, losses, errors, strict=True)
    ]
    bars = {"type": "data", "array": errors, "thickness": 1.2, "width": 4}
    return marks.points(data, drawn, sizes, losses, hover, error_y=bars)


def _summary(drawn: Sequence[Subject], best: Sequence[Subject]) -> str:
    least = min(drawn, key=lambda each: marks.kl(each) or 0.0)
    smallest = min(drawn, key=lambda each: each.artifact.size_bytes)
    told = f"{len(drawn)} artifacts by the size of the file and by what they lost, both on logarithmic scales."
    if len(drawn) == 1:
        return f"{told} {_one(least)}."
    front = f" On the Pareto front: {', '.join(each.label for each in best)}." if best else ""
    return f"{told} The smallest is {_one(smallest)}; the least lost {_one(least)}.{front}"


def _one(subject: Subject) -> str:
    return f"{subject.label} with {file_size(subject.artifact.size_bytes)} and {significant(marks.kl(subject))} nats"


def _row(subject: Subject, best: bool) -> list[Cell]:
    loss, error = marks.kl(subject), subject.found("kl_divergence", "standard_error")
    size = subject.artifact.size_bytes
    return [
        word(subject.name),
        word(subject.model),
        number(size, file_size(size)),
        number(loss, significant(loss)),
        number(error, significant(error, 2)),
        word("on it" if best else "no"),
    ]
