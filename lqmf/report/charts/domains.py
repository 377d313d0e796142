"""Draws the loss by kind of text: one number hides that code or dialogue suffers more. Needs a receipt with domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lqmf.quality.measures import as_mapping, as_number, follow
from lqmf.report.charts import marks
from lqmf.report.parts import (
    SURFACE,
    Cell,
    Chart,
    Column,
    Table,
    axis,
    layout,
    logarithmic,
    number,
    series,
    significant,
    told,
    word,
)
from lqmf.report.subjects import Data, Subject
from lqmf.terminal import clean

TITLE = "Loss by kind of text"
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "star")


def chart(data: Data) -> Chart:
    """Return the chart: a row for each artifact, a shape for each kind of text."""
    drawn = [subject for subject in data.subjects if any(losses(subject).values())]
    kinds = list(dict.fromkeys(kind for subject in drawn for kind in losses(subject)))
    if not drawn:
        told_of = "No receipt tells kinds of text apart."
        return Chart("domains", TITLE, "", missing=told_of, remedy="lqmf test NAME --comprehensive")
    values = [value for subject in drawn for value in losses(subject).values() if value]
    figure = {
        "data": [_trace(place, kind, drawn) for place, kind in enumerate(kinds)],
        "layout": layout(logarithmic(marks.LOSS, values), axis("", type="category", autorange="reversed")),
    }
    columns = (Column("artifact"), *(Column(kind, True) for kind in kinds))
    table = Table(TITLE, columns, [_row(subject, kinds) for subject in drawn])
    return Chart("domains", TITLE, _summary(drawn), figure, table, height=150 + 40 * len(drawn))


def losses(subject: Subject) -> dict[str, float | None]:
    """Return the mean KL in nats a token by kind of text; None where it was not measured."""
    domains = as_mapping(subject.receipt.get("domains"))
    return {clean(kind): as_number(follow(told, "kl_divergence", "mean")) for kind, told in domains.items()}


def _trace(place: int, kind: str, drawn: Sequence[Subject]) -> dict[str, Any]:
    known = [(subject, value) for subject in drawn if (value := losses(subject).get(kind))]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": told(kind),
        "x": [value for _, value in known],
        "y": [told(subject.label) for subject, _ in known],
        "marker": {
            "size": 12,
            "symbol": SHAPES[place % len(SHAPES)],
            "color": series(place),
            "line": {"width": 1.5, "color": SURFACE},
        },
        "hovertext": [told(subject.name, f"{kind}: KL {significant(value)}") for subject, value in known],
        "hoverinfo": "text",
    }


def _summary(drawn: Sequence[Subject]) -> str:
    return "KL divergence in nats a token by kind of text. " + " ".join(_worst(subject) for subject in drawn)


def _worst(subject: Subject) -> str:
    known: Mapping[str, float] = {kind: value for kind, value in losses(subject).items() if value is not None}
    most, least = max(known, key=lambda kind: known[kind]), min(known, key=lambda kind: known[kind])
    ends = f"most on {most} ({significant(known[most])}), least on {least} ({significant(known[least])})"
    return f"{subject.label} loses {ends}."


def _row(subject: Subject, kinds: Sequence[str]) -> list[Cell]:
    found = losses(subject)
    return [
        word(subject.name),
        *(number(found.get(kind), significant(found.get(kind)), _why(subject, kind)) for kind in kinds),
    ]


def _why(subject: Subject, kind: str) -> str:
    return clean(str(follow(subject.receipt, "domains", kind, "reason") or "not measured"))
