"""The marks of artifacts on every chart: a model by its colour, a method by its shape, a type in words beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lqmf.declared import methods
from lqmf.report.charts import placing
from lqmf.report.parts import INK, SURFACE, series, told
from lqmf.report.subjects import Data, Subject

LOSS = "KL divergence, nats a token"


def kl(subject: Subject) -> float | None:
    """Return the mean KL in nats a token; None where it was not measured, or is not above 0 (for a logarithmic
    axis)."""
    value = subject.found("kl_divergence", "mean")
    return value if value is not None and value > 0 else None


def type_of(subject: Subject) -> str:
    """Return the type, or the method and bits of an artifact without a type."""
    return subject.artifact.type or f"{subject.artifact.method} {subject.artifact.bits}-bit"


def symbol(method: str) -> str:
    """Return plotly's name of the shape that stands for a method."""
    return methods.of(method).symbol


def points(
    data: Data,
    chosen: Sequence[Subject],
    x: Sequence[float],
    y: Sequence[float],
    hover: Sequence[str],
    logarithmic: tuple[bool, bool] = (True, True),
    **more: Any,
) -> list[dict[str, Any]]:
    """Return traces of points, one for each model and method, each point with its type beside it where there is room.
    `logarithmic` says for x and y whether the axis is."""
    groups = list(dict.fromkeys((subject.model, subject.artifact.method) for subject in chosen))
    texts = [type_of(subject) for subject in chosen]
    beside = placing.beside(x, y, texts, logarithmic)
    traces = []
    for model, method in groups:
        places = [i for i, each in enumerate(chosen) if (each.model, each.artifact.method) == (model, method)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": told(f"{model}, {method}"),
                "x": [x[i] for i in places],
                "y": [y[i] for i in places],
                "text": [told(texts[i]) for i in places],
                "textposition": [beside[i] for i in places],
                "textfont": {"size": 11, "color": INK},
                "hovertext": [hover[i] for i in places],
                "hoverinfo": "text",
                "marker": marker(data.colour(model), method),
                "cliponaxis": False,
                "showlegend": True,
                **{name: _pick(value, places) for name, value in more.items()},
            }
        )
    return traces


def marker(colour: int, method: str, **more: Any) -> dict[str, Any]:
    """Return a marker with an edge that sets it off from others below it."""
    edge = {"width": 1.5, "color": SURFACE}
    return {"size": 12, "symbol": symbol(method), "color": series(colour), "line": edge, **more}


def _pick(value: Any, places: Sequence[int]) -> Any:
    """The errors of these points alone, if `value` is an error bar; else `value`."""
    if isinstance(value, dict) and "array" in value:
        return {**value, "array": [value["array"][i] for i in places]}
    return value


def without(chosen: Sequence[Subject], drawn: Sequence[Subject], *where: str) -> list[str]:
    """Return a sentence for each reason why artifacts of `chosen` are not `drawn`: no figure below the keys `where`, or
    0."""
    return unshown([(each.label, _why(each, where)) for each in chosen if each not in drawn])


def unshown(left_out: Sequence[tuple[str, str]]) -> list[str]:
    """Return a sentence for each reason in `left_out`, pairs of (name, reason)."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out:
        by_reason.setdefault(reason.rstrip("."), []).append(name)
    return [f"Not shown: {', '.join(names)} ({reason})." for reason, names in by_reason.items()]


def _why(subject: Subject, where: Sequence[str]) -> str:
    value = subject.found(*where)
    return subject.reason(*where) if value is None else "it lost nothing that could be measured"
