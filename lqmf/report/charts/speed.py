"""Draws speed against quality: tokens written a second against loss. Speeds compare on one machine only."""

from __future__ import annotations

from collections.abc import Sequence

from lqmf.report.charts import marks
from lqmf.report.parts import Cell, Chart, Column, Table, axis, layout, logarithmic, number, significant, told, word
from lqmf.report.subjects import Data, Subject

TITLE = "Speed against quality"
FAR = 8  # times: beyond it, speeds are drawn on a logarithmic axis, too
COLUMNS = (
    Column("artifact"),
    Column("writing, tokens/s", True),
    Column("reading, tokens/s", True),
    Column("KL divergence", True),
    Column("measured on"),
)


def chart(data: Data) -> Chart:
    """Return the chart. Further up is faster, further to the left is closer to the source."""
    drawn = [subject for subject in data.subjects if marks.kl(subject) and _writing(subject)]
    notes = marks.unshown([(each.label, _why(each)) for each in data.subjects if each not in drawn])
    if not drawn:
        return Chart("speed", TITLE, "", missing="No artifact has both measured.", notes=notes, remedy="lqmf test NAME")
    if len({subject.machine for subject in drawn}) > 1:
        notes.append("They were measured on different machines: their speeds are not comparable with one another.")
    losses, speeds = [marks.kl(each) or 0.0 for each in drawn], [_writing(each) or 0.0 for each in drawn]
    hover = [
        told(each.name, f"{speed:,.0f} tokens/s", f"KL {significant(loss)}", each.machine)
        for each, loss, speed in zip(drawn, losses, speeds, strict=True)
    ]
    far = max(speeds) > FAR * min(speeds)
    title = "tokens written a second"
    y = logarithmic(title, speeds) if far else axis(title, rangemode="tozero", separatethousands=True)
    figure = {
        "data": marks.points(data, drawn, losses, speeds, hover, logarithmic=(True, far)),
        "layout": layout(logarithmic(marks.LOSS, losses), y),
    }
    return Chart("speed", TITLE, _summary(drawn), figure, Table(TITLE, COLUMNS, [_row(each) for each in drawn]), notes)


def _writing(subject: Subject) -> float | None:
    return subject.found("tokens_per_second", "generation")


def _why(subject: Subject) -> str:
    where = ("kl_divergence", "mean") if _writing(subject) else ("tokens_per_second", "generation")
    return subject.reason(*where)


def _summary(drawn: Sequence[Subject]) -> str:
    fastest = max(drawn, key=lambda each: _writing(each) or 0.0)
    least = min(drawn, key=lambda each: marks.kl(each) or 0.0)
    return (
        f"{len(drawn)} artifacts by the tokens that they write in a second and by what they lost. The fastest is "
        f"{fastest.label} with {_writing(fastest):,.0f} tokens a second; the closest to its source is {least.label} "
        f"with {_writing(least):,.0f}."
    )


def _row(subject: Subject) -> list[Cell]:
    reading, loss, writing = subject.found("tokens_per_second", "prompt"), marks.kl(subject), _writing(subject)
    return [
        word(subject.name),
        number(writing, f"{writing:,.0f}"),
        number(reading, f"{reading or 0:,.0f}", subject.reason("tokens_per_second", "prompt")),
        number(loss, significant(loss)),
        word(subject.machine, "not recorded"),
    ]
