"""Draws memory, stacked by use, against the limit: as planned, and as a test measured it.

The bars are a plan's own estimate for the whole context; the diamonds are the peak of the process that ran the test,
which need not fill the context. Neither is shown as the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lqmf.records import Candidate, QuantizationPlan
from lqmf.report.parts import (
    GRID,
    GROUND,
    INK,
    LEGEND,
    SURFACE,
    Cell,
    Chart,
    Column,
    Table,
    axis,
    layout,
    number,
    scale,
    series,
    told,
    word,
)
from lqmf.report.subjects import Data, Subject
from lqmf.units import memory_size

TITLE = "Memory"
PARTS = {"weights": "weights", "cache": "KV cache", "compute": "compute buffers", "program": "program"}
PATTERNS = {"weights": "", "cache": "/", "compute": "x", "program": "."}  # told apart without colour, too
PLACES: Mapping[Literal["ram", "gpu"], tuple[str, str, str]] = {
    "ram": ("RAM", "rss", "peak_rss_bytes"),
    "gpu": ("GPU", "gpu", "peak_gpu_bytes"),
}
FAR = 3.0  # a limit so many times beyond the longest bar is told at the edge, not drawn
COLUMNS = (
    Column("artifact"),
    Column("where"),
    *(Column(f"{title}, planned", True) for title in PARTS.values()),
    Column("all planned", True),
    Column("context", True),
    Column("predicted for the test", True),
    Column("measured in the test", True),
    Column("limit of the plan", True),
)


@dataclass(frozen=True)
class Bar:
    """An artifact's memory in RAM or on the GPU, in bytes. `planned` is {} where no plan has an estimate."""

    subject: Subject
    place: Literal["ram", "gpu"]
    planned: Mapping[str, float]
    context: float | None
    predicted: float | None
    measured: float | None
    limit: float | None

    @property
    def total(self) -> float | None:
        return sum(self.planned.values()) if self.planned else None

    @property
    def label(self) -> str:
        return self.subject.label if self.place == "ram" else f"{self.subject.label}, GPU"


def chart(data: Data) -> Chart:
    """Return the chart: a bar for each artifact and place (RAM, GPU)."""
    bars = [bar for subject in data.subjects for bar in _bars(subject)]
    notes = _unplanned([bar for bar in bars if not bar.planned])
    drawn = [bar for bar in bars if bar.planned or bar.measured]
    if not drawn:
        return Chart("memory", TITLE, "", missing="No artifact has a plan or a test.", remedy="lqmf test NAME")
    longest = max(max(bar.total or 0.0, bar.measured or 0.0, bar.predicted or 0.0) for bar in drawn)
    divisor, unit = scale(longest, 1024)
    shapes, marks, beyond = _limits(data, drawn, longest, divisor)
    figure = {
        "data": [*_stacks(drawn, divisor), *_found(drawn, divisor)],
        "layout": layout(
            axis(f"memory, {unit}", rangemode="tozero"),
            axis("", autorange="reversed", type="category"),
            barmode="stack",
            legend={**LEGEND, "traceorder": "normal"},
            bargap=0.35,
            shapes=shapes,
            annotations=marks,
        ),
    }
    height = 150 + 44 * len(drawn)
    table = Table(TITLE, COLUMNS, [_row(bar) for bar in drawn])
    return Chart("memory", TITLE, _summary(data, drawn), figure, table, [*beyond, *notes], height=height)


# ---------------------------------------------------------------- reading


def _bars(subject: Subject) -> Iterator[Bar]:
    plan = subject.plan
    chosen = _chosen(plan) if plan else None
    for place, (_, measure, quantity) in PLACES.items():
        parts = {part: float(getattr(chosen.memory, f"{part}_{place}")) for part in PARTS} if chosen else {}
        measured = subject.found("peak_memory_bytes", measure)
        if place == "gpu" and not any(parts.values()) and measured is None:
            continue
        expected = plan.prediction.get(quantity) if plan else None
        limit = plan.memory_bytes if plan and (plan.device == "gpu") == (place == "gpu") else None
        yield Bar(subject, place, parts, chosen.run.context if chosen else None, expected, measured, limit)


def _chosen(plan: QuantizationPlan) -> Candidate | None:
    """Return the candidate of the plan with the plan's type and run settings; None for none."""
    return next((one for one in plan.candidates if (one.type, one.run) == (plan.type, plan.run)), None)


def _unplanned(bars: Sequence[Bar]) -> list[str]:
    """A sentence for each reason why only measured memory is shown."""
    reasons = {True: "its plan holds no estimate of it", False: "LQMF did not make it: it has no plan"}
    told = {why: [bar.label for bar in bars if bool(bar.subject.plan) == made] for made, why in reasons.items()}
    return [f"Only what was measured is shown of {', '.join(n)} ({reason})." for reason, n in told.items() if n]


# ---------------------------------------------------------------- drawing


def _stacks(bars: Sequence[Bar], divisor: float) -> list[dict[str, Any]]:
    return [
        {
            "type": "bar",
            "orientation": "h",
            "name": f"{title}, planned",
            "y": [told(bar.label) for bar in bars],
            "x": [bar.planned.get(part, 0.0) / divisor for bar in bars],
            "marker": {
                "color": series(place),
                "line": {"width": 1, "color": SURFACE},
                "pattern": {
                    "shape": PATTERNS[part],
                    "fillmode": "overlay",
                    "fgcolor": SURFACE,
                    "size": 7,
                    "solidity": 0.2,
                },
            },
            "hovertext": [_hover(bar, title, bar.planned.get(part)) for bar in bars],
            "hoverinfo": "text",
        }
        for place, (part, title) in enumerate(PARTS.items())
    ]


def _found(bars: Sequence[Bar], divisor: float) -> list[dict[str, Any]]:
    """The marks of the test: its prediction, hollow, and its measurement, filled."""
    return [
        _marks("predicted for the test", "circle", GROUND, [(bar, bar.predicted) for bar in bars], divisor),
        _marks("measured in the test", "diamond", INK, [(bar, bar.measured) for bar in bars], divisor),
    ]


def _marks(
    name: str, shape: str, colour: str, pairs: Sequence[tuple[Bar, float | None]], divisor: float
) -> dict[str, Any]:
    """Marks with an edge that stands out from every bar."""
    known = [(bar, value) for bar, value in pairs if value is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "y": [told(bar.label) for bar, _ in known],
        "x": [value / divisor for _, value in known],
        "marker": {
            "symbol": shape,
            "size": 10,
            "color": colour,
            "line": {"width": 2, "color": GROUND if colour == INK else INK},
        },
        "hovertext": [_hover(bar, name, value) for bar, value in known],
        "hoverinfo": "text",
    }


def _hover(bar: Bar, what: str, value: float | None) -> str:
    return told(f"{bar.subject.name}, {PLACES[bar.place][0]}", f"{what}: {memory_size(value)}")


def _limits(
    data: Data, bars: Sequence[Bar], longest: float, divisor: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Lines for the limits that lie near the bars; sentences for those that lie far beyond them."""
    shapes, marks, beyond = [], [], []
    for title, limit in _known_limits(data, bars):
        if limit > FAR * longest:
            beyond.append(f"{title}: {memory_size(limit)}, beyond the chart's right edge.")
            continue
        at = limit / divisor
        line = {"color": INK, "width": 2, "dash": "dash"}
        shapes.append({"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line})
        text = {"text": told(f"{title}: {memory_size(limit)}"), "showarrow": False, "bgcolor": SURFACE}
        place = {"x": at, "yref": "paper", "y": 0, "yanchor": "bottom", "xanchor": "right"}
        marks.append({**text, **place, "bordercolor": GRID, "borderpad": 3})
    return shapes, marks, beyond


def _known_limits(data: Data, bars: Sequence[Bar]) -> list[tuple[str, float]]:
    wished = sorted({bar.limit for bar in bars if bar.limit})
    limits = [("limit asked for", limit) for limit in wished]
    limits.append(("RAM of this machine", float(data.hardware.ram_total_bytes)))
    gpu = any(bar.place == "gpu" for bar in bars)
    return limits + [("GPU of this machine", float(each.memory_total_bytes)) for each in data.hardware.gpus[:1] if gpu]


# ---------------------------------------------------------------- words


def _summary(data: Data, bars: Sequence[Bar]) -> str:
    planned = [bar for bar in bars if bar.total is not None]
    words = f"Memory of {len({bar.subject.name for bar in bars})} artifacts, stacked by what it is for."
    if planned:
        most = max(planned, key=lambda bar: bar.total or 0.0)
        parts = ", ".join(f"{title} {memory_size(most.planned[part])}" for part, title in PARTS.items())
        words += f" The most is planned for {most.subject.label}: {memory_size(most.total)} ({parts})."
    measured = [bar for bar in bars if bar.measured is not None]
    if measured:
        most = max(measured, key=lambda bar: bar.measured or 0.0)
        words += f" The most that a test measured is {memory_size(most.measured)}, of {most.subject.label}."
    return f"{words} This machine has {memory_size(data.hardware.ram_total_bytes)} of RAM."


def _row(bar: Bar) -> list[Cell]:
    _, measure, _ = PLACES[bar.place]
    unplanned = "no plan says it"
    parts = [number(bar.planned.get(part), memory_size(bar.planned.get(part)), unplanned) for part in PARTS]
    return [
        word(bar.subject.name),
        word(PLACES[bar.place][0]),
        *parts,
        number(bar.total, memory_size(bar.total), unplanned),
        number(bar.context, f"{bar.context or 0:,.0f}", unplanned),
        number(bar.predicted, memory_size(bar.predicted), "nothing was predicted"),
        number(bar.measured, memory_size(bar.measured), bar.subject.reason("peak_memory_bytes", measure)),
        number(bar.limit, memory_size(bar.limit), "no limit of memory was asked for"),
    ]
