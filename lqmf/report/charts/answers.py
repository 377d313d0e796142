"""Draws how alike an artifact's answers are to its source's: the scores of its newest benchmark, each from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lqmf.quality.measures import as_mapping, as_number
from lqmf.report.parts import SURFACE, Cell, Chart, Column, Table, axis, layout, number, series, told, word
from lqmf.report.subjects import Data, Subject
from lqmf.terminal import clean

TITLE = "Answers beside the source's"
SHAPES = {"quality": "circle", "coherence": "square", "agreement": "diamond", "termination": "triangle-up"}
MORE = {"rougeL": "ROUGE-L", "ngram_cosine": "likeness of characters", "embedding_cosine": "likeness of meaning"}


def chart(data: Data) -> Chart:
    """Return the chart: a row for each artifact that was benchmarked, a shape for each score."""
    drawn = [subject for subject in data.subjects if any(scores(subject).values())]
    if not drawn:
        missing = "No artifact was benchmarked against its source."
        return Chart("answers", TITLE, "", missing=missing, remedy="lqmf benchmark NAME")
    figure = {
        "data": [_trace(place, name, drawn) for place, name in enumerate(SHAPES)],
        "layout": layout(
            axis("score; 1 is as the source", range=[-0.03, 1.03]), axis("", type="category", autorange="reversed")
        ),
    }
    columns = (Column("artifact"), *(Column(title, True) for title in (*SHAPES, *MORE.values())), Column("prompts"))
    table = Table(TITLE, columns, [_row(subject) for subject in drawn])
    return Chart("answers", TITLE, _summary(drawn), figure, table, height=150 + 40 * len(drawn))


def scores(subject: Subject) -> dict[str, float | None]:
    """Return the mean of each score over all answers, 0..1; {} where there is no benchmark."""
    overall = as_mapping(as_mapping(subject.benchmark).get("overall"))
    return {name: as_number(overall.get(name)) for name in (*SHAPES, *MORE)} if overall else {}


def _trace(place: int, name: str, drawn: Sequence[Subject]) -> dict[str, Any]:
    known = [(subject, value) for subject in drawn if (value := scores(subject).get(name)) is not None]
    edge = {"width": 1.5, "color": SURFACE}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [value for _, value in known],
        "y": [told(subject.label) for subject, _ in known],
        "marker": {"size": 12, "symbol": SHAPES[name], "color": series(place), "line": edge},
        "hovertext": [told(subject.name, f"{name} {value:.3f}") for subject, value in known],
        "hoverinfo": "text",
        "cliponaxis": False,
    }


def _summary(drawn: Sequence[Subject]) -> str:
    rated = [(value, subject) for subject in drawn if (value := scores(subject).get("quality")) is not None]
    words = (
        f"Scores from 0 to 1 of the answers of {len(drawn)} benchmarked artifacts, where 1 is as the source answers."
    )
    if rated:
        best, worst = max(rated, key=lambda pair: pair[0]), min(rated, key=lambda pair: pair[0])
        words += f" Quality is best of {best[1].label} ({best[0]:.3f}), least of {worst[1].label} ({worst[0]:.3f})."
    return words


def _row(subject: Subject) -> list[Cell]:
    found, reasons = scores(subject), as_mapping(as_mapping(subject.benchmark).get("reasons"))
    return [
        word(subject.name),
        *(number(found.get(name), f"{found.get(name) or 0:.3f}", _why(reasons, name)) for name in (*SHAPES, *MORE)),
        word(_prompts(as_mapping(subject.benchmark).get("prompts")), "not recorded"),
    ]


def _why(reasons: Mapping[str, Any], name: str) -> str:
    told_of = (
        reasons[key] for key in (f"overall.{name}", f"scores.{name}", name, "scores", "overall") if key in reasons
    )
    return clean(str(next(told_of, "not measured")))


def _prompts(prompts: Any) -> str:
    told_of = as_mapping(prompts)
    asked = as_number(told_of.get("asked"))
    return f"{asked:.0f} of {clean(str(told_of.get('name')))}" if asked else ""
