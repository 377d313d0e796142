"""How a benchmark looks: speeds by depth and chats at once, scores by kind of prompt, on one screen. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.messages import done_view, notice_view
from lqmf.cli.views.tables import NONE, Narrowing, facts, table
from lqmf.terminal import clean
from lqmf.units import duration, memory_size

SCORES = ("quality", "coherence", "ROUGE-L", "alike", "same start", "repeats", "ended")
FIELDS = ("quality", "coherence", "rougeL", "ngram_cosine", "same_beginning", "repetition", "ended")
WIDTHS = {"same start": 100, "ended": 90, "alike": 70}


def benchmark_view(document: Mapping[str, Any]) -> RenderableType:
    """One benchmark, from its file's document."""
    benchmark = document["benchmark"]
    title = Text(clean(str(document["artifact"]["name"])), style="bold")
    parts: list[RenderableType] = [title, Text(), _speed(benchmark), facts(list(_machine(benchmark)))]
    parts += [Text(), _scores(benchmark), *_tasks(benchmark), *_notes(benchmark)]
    return Group(*parts, done_view(f"Kept in {clean(str(document['path']))}"))


def _speed(benchmark: Mapping[str, Any]) -> RenderableType:
    figures = ("in context", "reading", "writing", "a chat")
    rows = table("chats", *figures, right=("chats", *figures))
    for row in benchmark["speed"]:
        written = (row["generation"] or {}).get("per_second")
        rows.add_row(
            str(row["parallel"]),
            f"{row['context_tokens']:,}",
            _rate((row["prompt"] or {}).get("per_second")),
            _rate(written),
            _rate(written and written / row["parallel"]),
        )
    return rows


def _rate(value: float | None) -> str:
    """Tokens a second."""
    if value is None:
        return NONE
    return f"{value:,.0f} t/s" if value >= 10 else f"{value:.1f} t/s"


def _machine(benchmark: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    memory, energy = benchmark["memory_bytes"], benchmark["energy_joules_per_token"]
    loads = benchmark["load_seconds"]["runs"]
    yield "loading", f"{duration(benchmark['load_seconds']['median'])}" + (f", of {len(loads)}" if loads[1:] else "")
    several = f", {memory_size(memory['parallel'])} with {benchmark['parallel']}" if memory["parallel"] else ""
    gpu = f", {memory_size(memory['gpu'])} on the GPU" if memory["gpu"] else ""
    yield "memory", f"{memory_size(memory['one'])} with one chat{several}{gpu}"
    joules = [f"{value:.2f} J a token ({name.upper()})" for name, value in energy.items() if value is not None]
    yield "energy", ", ".join(joules) or f"{NONE} {_reason(benchmark, 'energy_joules_per_token.cpu')}"
    yield "engine", benchmark["measured_on"]["engine"]


def _scores(benchmark: Mapping[str, Any]) -> RenderableType:
    every = {**benchmark["categories"], "all": benchmark["overall"]}

    def draw(left_out: frozenset[str]) -> RenderableType:
        shown = [pair for pair in zip(SCORES, FIELDS, strict=True) if pair[0] not in left_out]
        heads = [head for head, _ in shown]
        rows = table("answers", "", *heads, right=("", *heads), keep=("answers", *heads))
        for name, means in every.items():
            style = "bold" if name == "all" else ""
            cells = (_share(means.get(field)) for _, field in shown)
            rows.add_row(clean(name), str(means["answers"]), *cells, style=style)
        return rows

    return Narrowing(draw, WIDTHS)


def _share(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _tasks(benchmark: Mapping[str, Any]) -> Iterator[RenderableType]:
    if not benchmark["tasks"]:
        return
    rows = table("task", "documents", "score", "", right=("documents", "score"))
    for name, told in benchmark["tasks"].items():
        for metric, value in told["metrics"].items():
            error = value["standard_error"]
            margin = f"± {error:.3f}" if error is not None else ""
            rows.add_row(clean(name), str(told["documents"]), f"{value['value']:.3f}", f"{clean(metric)} {margin}")
    yield rows


def _notes(benchmark: Mapping[str, Any]) -> Iterator[RenderableType]:
    if benchmark["source"] is None:
        yield notice_view(f"Not held against the source: {_reason(benchmark, 'source')}.", warning=True)
    else:
        yield notice_view("Scores go from 0 to 1, against the source's own answers; `explain benchmark` says how.")
    if reason := next((row["reason"] for row in benchmark["speed"] if row["reason"]), None):
        yield notice_view(f"Not timed at every depth: {clean(reason)}.")
    unasked = [row for row in benchmark["answers"] if row["reason"]]
    if unasked:
        many = "1 prompt was" if len(unasked) == 1 else f"{len(unasked)} prompts were"
        yield notice_view(f"{many} not scored: {clean(str(unasked[0]['reason']))}.")


def _reason(benchmark: Mapping[str, Any], field: str) -> str:
    return clean(str(benchmark["reasons"].get(field) or "not measured"))
