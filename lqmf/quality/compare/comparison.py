"""Compares artifacts by their receipts and benchmarks. Pure: records in, one document out; draws nothing.

A side is called better only where the figures can be compared (the same text and windows for quality, the same source
model for divergence and perplexity, the same machine for speed and memory) and where the difference is more than chance
explains, by the tests of `significance`. Different engines are noted, and still compared: users want to know how fast a
GPTQ artifact is against a GGUF.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lqmf.errors import UsageError
from lqmf.quality.compare.comparison_rows import Line, Side, lines
from lqmf.quality.compare.recommendation import recommend
from lqmf.quality.measures import busy, follow
from lqmf.records import Artifact

_DIFFERENT = {
    "text": "They were measured on different texts or windows: their quality is not comparable. Test them again.",
    "amount": "They were measured on different amounts of text: perplexity is not comparable, KL divergence roughly.",
    "model": "They come from different models: perplexity and divergence are each against its own source.",
    "machine": "They were measured on different machines: speed and memory are not comparable.",
    "busy": "Other programs kept the machine busy while they were measured: speeds are not comparable.",
    "engine": "They run on different engines: speed and memory are the engine's as much as the file's.",
    "prompts": "Their benchmarks asked different prompts: their answers are not comparable. Benchmark them alike.",
    "timed": "Their benchmarks ran on different machines, or not equally long: their speeds are not comparable.",
}


def compare(artifacts: Sequence[Artifact], benchmarks: Sequence[Mapping[str, Any] | None] = ()) -> dict[str, Any]:
    """Return the comparison, a value for each column, as a document:

        {"artifacts": [{"name", "model", "method", "bits", "type", "foreign", "measured", "gate_passed": or null,
                        "benchmarked"}],
         "rows": [{"id", "title", "unit", "better": "lower" or "higher",
                   "values": [number or null], "errors": [standard error or null],
                   "best": [indices of the best columns, with those that do not differ from the best one; none where
                            all are alike, or nothing can be claimed],
                   "tested": "exact", "error bars", "runs", "pairs", "tolerance", or null: nothing to test it by,
                   "verdict": "different", "same" (no more than chance), or null: not comparable or not tested,
                   "reasons": [why a value is null, else null]}],
         "wins": [rows won], "notes": [sentences], "sentence": the recommendation}

    `benchmarks` are those of `artifacts`, each the `benchmark` part of its file, or None. Raises UsageError for fewer
    than two different artifacts.
    """
    if len({artifact.path for artifact in artifacts}) < 2:
        raise UsageError("A comparison needs two different artifacts.", "lqmf compare NAME NAME")
    given = [*benchmarks, *[None] * (len(artifacts) - len(benchmarks))]
    sides = [Side(a, a.receipt or {}, b or {}) for a, b in zip(artifacts, given, strict=True)]
    different = [name for name, facts in _CONDITIONS.items() if all(_differ(fact, sides) for fact in facts)]
    rows = [_row(line, different) for line in lines(sides)]
    document = {
        "artifacts": [_column(side) for side in sides],
        "rows": rows,
        "wins": [sum(index in row["best"] for row in rows) for index in range(len(sides))],
        "notes": [_DIFFERENT[name] for name in different],
    }
    return {**document, "sentence": recommend(document, same_model="model" not in different)}


def alike(made: Sequence[Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any] | None]:
    """Return a benchmark of each artifact, from the benchmarks `made` of each, newest first: the newest of a depth and
    prompts that every artifact has; where there is none, each artifact's newest (None without a benchmark)."""
    newest = [{_kind(one): one for one in reversed(benchmarks)} for benchmarks in made]
    for kind in (_kind(one) for one in made[0]) if made else ():
        if all(kind in kinds for kinds in newest):
            return [kinds[kind] for kinds in newest]
    return [next(iter(benchmarks), None) for benchmarks in made]


def _kind(benchmark: Mapping[str, Any]) -> Any:
    return benchmark.get("depth"), follow(benchmark, "prompts", "sha256")


def _column(side: Side) -> dict[str, Any]:
    kept = ("name", "model", "method", "bits", "type", "foreign")
    facts = {name: getattr(side.artifact, name) for name in kept}
    gate = (side.receipt.get("gate") or {}).get("passed")
    return {**facts, "measured": side.measured, "gate_passed": gate, "benchmarked": bool(side.benchmark)}


def _row(line: Line, different: Sequence[str]) -> dict[str, Any]:
    comparable = not any(need in different for need in line.needs)
    best, verdict = _best(line) if comparable else ([], None)
    nothing: tuple[None, ...] = (None,) * len(line.values)
    return {
        "id": line.id,
        "title": line.title,
        "unit": line.unit,
        "better": line.better,
        "values": list(line.values),
        "errors": list(line.errors or nothing),
        "best": best,
        "tested": line.tested,
        "verdict": verdict,
        "reasons": list(line.reasons or nothing),
    }


def _best(line: Line) -> tuple[list[int], str | None]:
    """The best columns, with those that do not differ from the best one; and "different", "same", or None for no
    claim."""
    known = {index: value for index, value in enumerate(line.values) if value is not None}
    if len(known) < 2:
        return [], None
    top = (min if line.better == "lower" else max)(known, key=lambda index: known[index])
    apart = {index: known[index] != known[top] and line.differs(top, index) for index in known if index != top}
    if any(told is None for told in apart.values()):
        return [], None
    if not any(apart.values()):
        return [], "same"
    return sorted([top, *(index for index, told in apart.items() if not told)]), "different"


# ---------------------------------------------------------------- what must be the same


def _measured(side: Side) -> bool:
    return side.measured


def _benchmarked(side: Side) -> bool:
    return bool(side.benchmark)


def _text(side: Side) -> Any:
    return follow(side.receipt, "text", "sha256"), side.receipt.get("window_tokens")


def _source(side: Side) -> Any:
    """The source, known by its perplexity: a foreign file's own name for its model says little."""
    return follow(side.receipt, "base", "perplexity") or object()


def _where(document: Mapping[str, Any]) -> Any:
    return follow(document, "measured_on", "cpu"), follow(document, "measured_on", "gpu")


Fact = tuple[Callable[[Side], bool], Callable[[Side], Any]]  # of which sides, and what of them
# each condition holds when one of its facts is the same in all columns
_CONDITIONS: Mapping[str, Sequence[Fact]] = {
    "text": ((_measured, _text),),
    "amount": ((_measured, lambda side: side.receipt.get("tokens_evaluated")),),
    "model": ((_measured, lambda side: side.artifact.model.casefold()), (_measured, _source)),
    "machine": ((_measured, lambda side: _where(side.receipt)),),
    "busy": ((_measured, lambda side: object() if busy(side.receipt) else None),),
    "engine": ((_measured, lambda side: follow(side.receipt, "measured_on", "engine")),),
    "prompts": ((_benchmarked, lambda side: _kind(side.benchmark)),),
    "timed": ((_benchmarked, lambda side: (_where(side.benchmark), side.benchmark.get("depth"))),),
}


def _differ(fact: Fact, sides: Sequence[Side]) -> bool:
    of, what = fact
    return len({what(side) for side in sides if of(side)}) > 1
