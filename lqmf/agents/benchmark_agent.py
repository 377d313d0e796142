"""The BenchmarkAgent: artifacts side by side. Reads receipts; measures nothing, draws nothing.

A side is called better only where the figures can be compared: the same text and windows for quality, the same source
model for divergence and perplexity, the same machine for speed and memory. Different engines are told of, not kept
apart: how fast a GPTQ artifact is beside a GGUF is what one wants to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lqmf.errors import UsageError
from lqmf.records import Artifact

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Row:
    """A line of the table. `where` are the fields to follow into the receipt; `needs` names what must be the same in
    all columns for the values to be comparable: some of "text", "amount", "model", "machine"."""

    id: str
    title: str
    unit: str
    better: Better
    where: tuple[str, ...]
    needs: tuple[str, ...] = ()


QUALITY, SPEED = ("text", "model"), ("machine",)
ROWS = (
    Row("size_bytes", "size", "bytes", "lower", ("size_bytes",)),
    Row("bits_per_weight", "bits per weight", "bits", "lower", ("bits_per_weight",)),
    Row("compression_ratio", "compression", "times", "higher", ()),
    Row("perplexity", "perplexity", "", "lower", ("perplexity",), (*QUALITY, "amount")),
    Row("kl_divergence", "KL divergence", "nats/token", "lower", ("kl_divergence", "mean"), QUALITY),
    Row("kl_divergence_p99", "KL, 99th percentile", "nats/token", "lower", ("kl_divergence", "p99"), QUALITY),
    Row("top1_agreement", "same top choice", "share", "higher", ("top1_agreement",), QUALITY),
    Row("tokens_per_second_prompt", "reading", "tokens/s", "higher", ("tokens_per_second", "prompt"), SPEED),
    Row("tokens_per_second_generation", "writing", "tokens/s", "higher", ("tokens_per_second", "generation"), SPEED),
    Row("first_token_seconds", "time to first token", "seconds", "lower", ("latency_seconds", "first_token"), SPEED),
    Row("load_seconds", "load time", "seconds", "lower", ("load_seconds",), SPEED),
    Row("peak_rss_bytes", "peak memory", "bytes", "lower", ("peak_memory_bytes", "rss"), SPEED),
    Row("peak_gpu_bytes", "peak GPU memory", "bytes", "lower", ("peak_memory_bytes", "gpu"), SPEED),
)
_DIFFERENT = {
    "text": "They were measured on different texts or windows: their quality is not comparable. Test them again.",
    "amount": "They were measured on different amounts of text: perplexity is not comparable, KL divergence roughly.",
    "model": "They come from different models: perplexity and divergence are each against its own source.",
    "machine": "They were measured on different machines: speed and memory are not comparable.",
    "engine": "They run on different engines: speed and memory are the engine's as much as the file's.",
}


class BenchmarkAgent:
    """Compares artifacts by their receipts."""

    def compare(self, *artifacts: Artifact) -> dict[str, Any]:
        """The table, a value a column, as a document:

            {"artifacts": [{"name", "model", "method", "bits", "type", "foreign", "measured"}],
             "rows": [{"id", "title", "unit", "better": "lower" or "higher",
                       "values": [number or null], "errors": [standard error or null],
                       "best": [indices of the best columns; none for a tie or what cannot be compared],
                       "reasons": [why a value is null, else null]}],
             "wins": [rows won], "notes": [sentences]}

        Raises UsageError for fewer than two different artifacts.
        """
        if len({artifact.path for artifact in artifacts}) < 2:
            raise UsageError("A comparison needs two different artifacts.", "lqmf compare NAME NAME")
        receipts = [artifact.receipt or {} for artifact in artifacts]
        different = [name for name, same in _CONDITIONS.items() if all(_differ(fact, artifacts) for fact in same)]
        rows = [_row(row, artifacts, receipts, different) for row in ROWS]
        rows = [row for row in rows if row["id"] != "peak_gpu_bytes" or any(v is not None for v in row["values"])]
        return {
            "artifacts": [_column(artifact) for artifact in artifacts],
            "rows": rows,
            "wins": [sum(index in row["best"] for row in rows) for index in range(len(artifacts))],
            "notes": [_DIFFERENT[name] for name in different],
        }


def _column(artifact: Artifact) -> dict[str, Any]:
    kept = ("name", "model", "method", "bits", "type", "foreign")
    return {**{name: getattr(artifact, name) for name in kept}, "measured": _measured(artifact)}


def _measured(artifact: Artifact) -> bool:
    return bool((artifact.receipt or {}).get("checks"))


# ---------------------------------------------------------------- what must be the same


def _text(artifact: Artifact) -> Any:
    receipt = artifact.receipt or {}
    text = receipt.get("text") or {}
    return text.get("sha256"), receipt.get("window_tokens")


def _amount(artifact: Artifact) -> Any:
    return (artifact.receipt or {}).get("tokens_evaluated")


def _model(artifact: Artifact) -> Any:
    return artifact.model.casefold()


def _source(artifact: Artifact) -> Any:
    """The source by what it scored: a foreign file's own name for its model says little."""
    return ((artifact.receipt or {}).get("base") or {}).get("perplexity") or object()


def _machine(artifact: Artifact) -> Any:
    where = (artifact.receipt or {}).get("measured_on") or {}
    return where.get("cpu"), where.get("gpu")


def _engine(artifact: Artifact) -> Any:
    return ((artifact.receipt or {}).get("measured_on") or {}).get("engine")


# each holds when one of its facts is the same in all columns
_CONDITIONS: Mapping[str, Sequence[Callable[[Artifact], Any]]] = {
    "text": (_text,),
    "amount": (_amount,),
    "model": (_model, _source),
    "machine": (_machine,),
    "engine": (_engine,),
}


def _differ(fact: Callable[[Artifact], Any], artifacts: Sequence[Artifact]) -> bool:
    return len({fact(artifact) for artifact in artifacts if _measured(artifact)}) > 1


# ---------------------------------------------------------------- rows


def _row(
    row: Row, artifacts: Sequence[Artifact], receipts: Sequence[Mapping[str, Any]], different: Sequence[str]
) -> dict[str, Any]:
    values = [_value(row, artifact, receipt) for artifact, receipt in zip(artifacts, receipts, strict=True)]
    comparable = not any(need in different for need in row.needs)
    missing = [
        _reason(row, receipt) if value is None else None for value, receipt in zip(values, receipts, strict=True)
    ]
    return {
        "id": row.id,
        "title": row.title,
        "unit": row.unit,
        "better": row.better,
        "values": values,
        "errors": [_error(row, receipt) for receipt in receipts],
        "best": _best(row.better, values) if comparable else [],
        "reasons": missing,
    }


def _value(row: Row, artifact: Artifact, receipt: Mapping[str, Any]) -> float | None:
    if row.id in ("size_bytes", "compression_ratio"):
        value: float | None = getattr(artifact, row.id)
        return value
    found = _follow(receipt, row.where)
    return found if isinstance(found, int | float) else None


def _follow(document: Any, where: Sequence[str]) -> Any:
    for name in where:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def _error(row: Row, receipt: Mapping[str, Any]) -> float | None:
    return _follow(receipt, ("kl_divergence", "standard_error")) if row.id == "kl_divergence" else None


def _reason(row: Row, receipt: Mapping[str, Any]) -> str:
    reasons = receipt.get("reasons") or {}
    for name in (".".join(row.where), *row.where[:1], "*"):
        if name in reasons:
            return str(reasons[name])
    return "not measured"


def _best(better: Better, values: Sequence[float | None]) -> list[int]:
    """Indices of the best values; nobody wins alone, or when all are the same."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or len(set(known)) == 1:
        return []
    top = min(known) if better == "lower" else max(known)
    return [index for index, value in enumerate(values) if value == top]
