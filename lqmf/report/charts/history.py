"""Draws the history of a model's artifacts, deleted ones too: when each was made, its loss and its size."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lqmf.quality.measures import as_number, follow
from lqmf.report.charts import marks, placing
from lqmf.report.parts import (
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
from lqmf.report.subjects import Data
from lqmf.terminal import clean
from lqmf.units import file_size

TITLE = "History"
COLUMNS = (
    Column("artifact"),
    Column("made at (UTC)"),
    Column("model"),
    Column("type"),
    Column("size", True),
    Column("KL divergence", True),
    Column("state"),
)


@dataclass(frozen=True)
class Made:
    """An artifact as it was recorded. `at` is the time in UTC ("2026-01-31 12:00:00", "" if unknown); `kl` in nats a
    token."""

    name: str
    model: str
    method: str
    type: str
    at: str
    size_bytes: float | None
    kl: float | None
    deleted: bool


def chart(data: Data) -> Chart:
    """Return the chart of the artifacts of the page's models, in order of time; versions of one type are joined."""
    made = _of_models(data)
    drawn = [each for each in made if each.kl]
    table = Table(TITLE, COLUMNS, [_row(each) for each in made])
    if not drawn:
        return Chart("history", TITLE, "", table=table, missing="None has a measured loss.", remedy="lqmf test NAME")
    y = logarithmic(marks.LOSS, [each.kl or 0.0 for each in drawn])
    figure = {
        "data": _traces(data, drawn),
        "layout": layout(axis("made at (UTC)", type="date", nticks=6), y, showlegend=False),
    }
    unshown = marks.unshown([(each.name, "its loss was not measured") for each in made if not each.kl])
    return Chart("history", TITLE, _summary(data, made), figure, table, unshown)


def _of_models(data: Data) -> list[Made]:
    wanted = set(data.models)
    found = {_key(record): _made(record) for record in data.earlier}
    for subject in data.subjects:
        record = {**vars(subject.artifact), "deleted_at": None}
        found[_key(record)] = _made(record)
    return sorted((each for each in found.values() if each.model in wanted and each.at), key=lambda each: each.at)


def _key(record: Mapping[str, Any]) -> tuple[str, str]:
    """The name without its mark of deletion, and the time: a deleted artifact and a later one of its name are two."""
    return str(record.get("name")).partition("@")[0], str(record.get("created_at"))


def _made(record: Mapping[str, Any]) -> Made:
    told = {name: clean(str(record.get(name) or "")) for name in ("name", "model", "method", "type")}
    loss = as_number(follow(record.get("receipt"), "kl_divergence", "mean"))
    size, deleted = as_number(record.get("size_bytes")), record.get("deleted_at") is not None
    told["model"] = told["model"] or "unknown model"
    return Made(**told, at=_utc(record.get("created_at")), size_bytes=size, kl=loss, deleted=deleted)


def _utc(stamp: Any) -> str:
    """The time in UTC, as plotly reads it; "" for a stamp that is not a time."""
    try:
        at = datetime.datetime.fromisoformat(str(stamp))
    except ValueError:
        return ""
    return at.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _traces(data: Data, drawn: Sequence[Made]) -> list[dict[str, Any]]:
    """A trace for each model, method and type, so that versions of one artifact are joined."""
    texts = [each.type or each.method for each in drawn]
    times = [datetime.datetime.fromisoformat(each.at).timestamp() for each in drawn]
    sides = placing.beside(times, [each.kl or 0.0 for each in drawn], texts, (False, True))
    groups: dict[tuple[str, str, str], list[int]] = {}
    for place, each in enumerate(drawn):
        groups.setdefault((each.model, each.method, each.type), []).append(place)
    return [
        _trace(data, [drawn[i] for i in places]) | {"textposition": [sides[i] for i in places]}
        for places in groups.values()
    ]


def _trace(data: Data, made: Sequence[Made]) -> dict[str, Any]:
    first = made[0]
    shapes = [marks.symbol(each.method) + ("-open" if each.deleted else "") for each in made]
    colour = series(data.colour(first.model))
    return {
        "type": "scatter",
        "mode": "lines+markers+text",
        "name": told(first.type or first.method),
        "x": [each.at for each in made],
        "y": [each.kl for each in made],
        "text": [told(each.type or each.method) for each in made],
        "textfont": {"size": 11},
        "line": {"width": 1.5, "dash": "dot", "color": colour},
        "marker": {"size": 11, "symbol": shapes, "color": colour, "line": {"width": 2, "color": colour}},
        "hovertext": [_hover(each) for each in made],
        "hoverinfo": "text",
        "cliponaxis": False,
    }


def _hover(made: Made) -> str:
    state = "deleted since" if made.deleted else ""
    return told(made.name, f"{made.at} UTC", file_size(made.size_bytes), f"KL {significant(made.kl)}", state)


def _summary(data: Data, made: Sequence[Made]) -> str:
    gone = sum(each.deleted for each in made)
    deleted = f", {gone} of them deleted since (hollow)" if gone else ""
    first, last = made[0], made[-1]
    return (
        f"{len(made)} artifacts of {', '.join(data.models)}{deleted}, by when they were made and what they lost: from "
        f"{first.name} on {first.at[:10]} to {last.name} on {last.at[:10]}."
    )


def _row(made: Made) -> list[Cell]:
    return [
        word(made.name),
        word(made.at[:16]),
        word(made.model),
        word(made.type or made.method),
        number(made.size_bytes, file_size(made.size_bytes), "not recorded"),
        number(made.kl, significant(made.kl)),
        word("deleted" if made.deleted else "there"),
    ]
