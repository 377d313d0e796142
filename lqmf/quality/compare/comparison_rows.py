"""The lines of a comparison: what receipts and benchmarks hold of each artifact, and how two such figures are tested.

Pure; draws nothing. A line is made for all artifacts at once; what one of them lacks is null there, with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lqmf.quality.compare import significance
from lqmf.records import Artifact

Better = Literal["lower", "higher"]
Differs = Callable[[int, int], bool | None]  # of two columns: None where it cannot be tested
MEMORY_TOLERANCE = 0.01  # six runs of one file differed by 0.3 % in their peak memory
DOCUMENTATION = "documentation"  # the domain whose figures stand at the top of a receipt


@dataclass(frozen=True)
class Side:
    """One column: an artifact with its receipt and its newest benchmark (empty where there is none)."""

    artifact: Artifact
    receipt: Mapping[str, Any]
    benchmark: Mapping[str, Any]

    @property
    def measured(self) -> bool:
        return bool(self.receipt.get("checks"))


@dataclass(frozen=True)
class Line:
    """A figure of every column. `needs` names what must be the same in all for the values to be comparable: some of
    "text", "amount", "model", "machine", "prompts", "timed"; `tested` says by what two values are told apart."""

    id: str
    title: str
    unit: str
    better: Better
    values: tuple[float | None, ...]
    differs: Differs
    tested: str | None
    needs: tuple[str, ...] = ()
    errors: tuple[float | None, ...] = ()
    reasons: tuple[str | None, ...] = ()


def lines(sides: Sequence[Side]) -> Iterator[Line]:
    """Every line, in the order of the table."""
    yield from _exact(sides)
    yield from _quality(sides)
    yield from _domains(sides)
    yield from _answers(sides)
    yield from _tasks(sides)
    timed = all(side.benchmark for side in sides)
    yield from _timed(sides) if timed else _receipt_speed(sides)
    yield from _memory(sides)


# ---------------------------------------------------------------- helpers


def follow(document: Any, *where: str) -> Any:
    """What stands in `document` below these keys; None where one is missing."""
    for name in where:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def number(document: Any, *where: str) -> float | None:
    """The number there, or None."""
    found = follow(document, *where)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def reason(document: Mapping[str, Any], *where: str) -> str:
    """Why a figure is missing, as the document's `reasons` say."""
    reasons = document.get("reasons") or {}
    for name in (".".join(where), *where[:1], "*"):
        if name in reasons:
            return str(reasons[name])
    return "not measured"


def _missing(values: Sequence[float | None], told: Sequence[str]) -> tuple[str | None, ...]:
    return tuple(why if value is None else None for value, why in zip(values, told, strict=True))


def _unequal(values: Sequence[float | None]) -> Differs:
    return lambda i, j: values[i] != values[j]


def _by_error(values: Sequence[float | None], errors: Sequence[float | None]) -> Differs:
    def differs(i: int, j: int) -> bool | None:
        one, other = values[i], values[j]
        if one is None or other is None:
            return None
        return significance.by_error(one, errors[i], other, errors[j])

    return differs


def _untested(i: int, j: int) -> bool | None:
    return None


# ---------------------------------------------------------------- the file


def _exact(sides: Sequence[Side]) -> Iterator[Line]:
    size = tuple(float(side.artifact.size_bytes) for side in sides)
    yield Line("size_bytes", "size", "bytes", "lower", size, _unequal(size), "exact")
    bits = tuple(number(side.receipt, "bits_per_weight") for side in sides)
    why = _missing(bits, [reason(side.receipt, "bits_per_weight") for side in sides])
    yield Line("bits_per_weight", "bits per weight", "bits", "lower", bits, _unequal(bits), "exact", reasons=why)
    ratio = tuple(side.artifact.compression_ratio for side in sides)
    why = _missing(ratio, ["its source's size is not known"] * len(sides))
    yield Line("compression_ratio", "compression", "times", "higher", ratio, _unequal(ratio), "exact", reasons=why)


# ---------------------------------------------------------------- quality


def _quality(sides: Sequence[Side]) -> Iterator[Line]:
    receipts = [side.receipt for side in sides]
    yield _perplexity(receipts)
    yield _divergence(receipts, "kl_divergence", "KL divergence", ("text", "model"))
    tail = tuple(number(r, "kl_divergence", "p99") for r in receipts)
    why = _missing(tail, [reason(r, "kl_divergence") for r in receipts])
    needs = ("text", "model")
    yield Line("kl_divergence_p99", "KL, 99th percentile", "nats/token", "lower", tail, _untested, None, needs, (), why)
    same = tuple(number(r, "top1_agreement") for r in receipts)
    errors = tuple(
        None if value is None else significance.share_error(value, int(r.get("tokens_evaluated") or 0))
        for value, r in zip(same, receipts, strict=True)
    )
    why = _missing(same, [reason(r, "top1_agreement") for r in receipts])
    yield Line(
        "top1_agreement", "same top choice", "share", "higher", same, _by_error(same, errors), "error bars", needs,
        errors, why,
    )  # fmt: skip


def _perplexity(receipts: Sequence[Mapping[str, Any]]) -> Line:
    """Told apart by its ratio to the source's, token by token, whose error bar is far smaller than its own."""
    values = tuple(number(r, "perplexity") for r in receipts)
    ratios = [number(r, "perplexity_ratio", "value") for r in receipts]
    errors = [number(r, "perplexity_ratio", "standard_error") for r in receipts]
    own = tuple(number(r, "perplexity_standard_error") for r in receipts)
    why = _missing(values, [reason(r, "perplexity") for r in receipts])
    needs = ("text", "model", "amount")
    return Line(
        "perplexity", "perplexity", "", "lower", values, _by_error(ratios, errors), "error bars", needs, own, why
    )


def _divergence(found: Sequence[Mapping[str, Any]], id: str, title: str, needs: tuple[str, ...]) -> Line:
    values = tuple(number(r, "kl_divergence", "mean") for r in found)
    errors = tuple(number(r, "kl_divergence", "standard_error") for r in found)
    why = _missing(values, [reason(r, "kl_divergence") for r in found])
    test = _by_error(values, errors)
    return Line(id, title, "nats/token", "lower", values, test, "error bars", needs, errors, why)


def _domains(sides: Sequence[Side]) -> Iterator[Line]:
    """KL divergence by kind of text, where at least two were measured on the same one."""
    found = [side.receipt.get("domains") or {} for side in sides]
    for name in dict.fromkeys(name for domains in found for name in domains if name != DOCUMENTATION):
        each = [domains.get(name) or {} for domains in found]
        texts = {follow(domain, "text", "sha256") for domain in each if domain.get("kl_divergence")}
        if len(texts) == 1 and sum(bool(domain.get("kl_divergence")) for domain in each) > 1:
            whys = [{"reasons": {"*": domain.get("reason") or "not measured"}, **domain} for domain in each]
            yield _divergence(whys, f"kl_divergence.{name}", f"KL on {name}", ("model",))


# ---------------------------------------------------------------- answers and tasks

SCORED = (
    ("quality", "answers: quality"),
    ("coherence", "answers: coherence"),
    ("rougeL", "answers: ROUGE-L"),
    ("ngram_cosine", "answers: like the source's"),
    ("embedding_cosine", "answers: same meaning"),
)


def _answers(sides: Sequence[Side]) -> Iterator[Line]:
    """Scores of answers where at least two have a benchmark; told apart prompt by prompt."""
    if sum(bool(side.benchmark) for side in sides) < 2:
        return
    for name, title in SCORED:
        values = tuple(number(side.benchmark, "overall", name) for side in sides)
        if any(value is not None for value in values):
            by_prompt = [_by_prompt(side.benchmark, name) for side in sides]
            why = _missing(values, [_why(side, "overall", name) for side in sides])
            needs = ("prompts", "model")
            yield Line(f"answers_{name}", title, "0..1", "higher", values, _paired(by_prompt), "pairs", needs, (), why)


def _why(side: Side, *where: str) -> str:
    return reason(side.benchmark, *where) if side.benchmark else "it has no benchmark yet"


def _by_prompt(benchmark: Mapping[str, Any], name: str) -> dict[str, float]:
    rows = ((row["id"], number(row, "scores", name)) for row in benchmark.get("answers") or ())
    return {id: value for id, value in rows if value is not None}


def _paired(columns: Sequence[Mapping[str, float]]) -> Differs:
    def differs(i: int, j: int) -> bool | None:
        common = [id for id in columns[i] if id in columns[j]]
        return significance.by_pairs([columns[i][id] - columns[j][id] for id in common])

    return differs


def _tasks(sides: Sequence[Side]) -> Iterator[Line]:
    """Scores of named tasks that at least two have run, on as many documents."""
    found = [side.benchmark.get("tasks") or {} for side in sides]
    for task in dict.fromkeys(task for tasks in found for task in tasks):
        ran = [tasks[task] for tasks in found if task in tasks]
        if len(ran) < 2 or len({one.get("documents") for one in ran}) > 1:
            continue
        for metric, told in ran[0]["metrics"].items():
            where = (task, "metrics", metric)
            values = tuple(number(tasks, *where, "value") for tasks in found)
            errors = tuple(number(tasks, *where, "standard_error") for tasks in found)
            better: Better = "higher" if told["higher_is_better"] else "lower"
            why = _missing(values, ["this task was not run"] * len(sides))
            test = _by_error(values, errors)
            yield Line(
                f"task.{task}.{metric}", f"{task}, {metric}", "", better, values, test, "error bars", (), errors, why
            )


# ---------------------------------------------------------------- speed and memory

RECEIPT_SPEED = (
    ("tokens_per_second_prompt", "reading", "tokens/s", "higher", ("tokens_per_second", "prompt")),
    ("tokens_per_second_generation", "writing", "tokens/s", "higher", ("tokens_per_second", "generation")),
    ("first_token_seconds", "time to first token", "seconds", "lower", ("latency_seconds", "first_token")),
    ("load_seconds", "load time", "seconds", "lower", ("load_seconds",)),
)


def _receipt_speed(sides: Sequence[Side]) -> Iterator[Line]:
    """A receipt keeps no spread of runs, so that nothing is claimed of a difference."""
    for id, title, unit, better, where in RECEIPT_SPEED:
        values = tuple(number(side.receipt, *where) for side in sides)
        why = _missing(values, [reason(side.receipt, *where) for side in sides])
        yield Line(id, title, unit, better, values, _untested, None, ("machine",), (), why)  # type: ignore[arg-type]


def _timed(sides: Sequence[Side]) -> Iterator[Line]:
    """Speeds of the benchmarks where all have them: with an empty context, the fullest one, and several chats."""
    tables = [_by_point(side.benchmark) for side in sides]
    common = [point for point in tables[0] if all((t.get(point) or {}).get("generation") for t in tables)]
    single = sorted(point for point in common if point[0] == 1)
    several = sorted(point for point in common if point[0] > 1)
    for point in dict.fromkeys((*single[:1], *single[-1:], *several[:1])):
        for part, word in (("prompt", "reading"), ("generation", "writing")):
            yield _speed([table[point] for table in tables], point, part, word)
    loads = [side.benchmark.get("load_seconds") or {} for side in sides]
    values = tuple(number(load, "median") for load in loads)
    if any(value is not None for value in values):
        runs = [load.get("runs") or [] for load in loads]
        why = _missing(values, ["not measured"] * len(sides))
        yield Line("load_seconds", "load time", "seconds", "lower", values, _runs(runs), "runs", ("timed",), (), why)


def _by_point(benchmark: Mapping[str, Any]) -> dict[tuple[int, int], Mapping[str, Any]]:
    return {(row["parallel"], row["context_tokens"]): row for row in benchmark.get("speed") or ()}


def _speed(rows: Sequence[Mapping[str, Any]], point: tuple[int, int], part: str, word: str) -> Line:
    parallel, depth = point
    title = word + (f", {parallel} chats" if parallel > 1 else "") + (f" after {depth:,}" if depth else "")
    values = tuple(number(row, part, "per_second") for row in rows)
    runs = [follow(row, part, "runs") or [] for row in rows]
    id = f"speed.{word}.{parallel}.{depth}"
    return Line(id, title, "tokens/s", "higher", values, _runs(runs), "runs", ("timed",))


def _runs(runs: Sequence[Sequence[float]]) -> Differs:
    return lambda i, j: significance.by_runs(runs[i], runs[j]) if runs[i] and runs[j] else None


def _memory(sides: Sequence[Side]) -> Iterator[Line]:
    for id, title, part in (("peak_rss_bytes", "peak memory", "rss"), ("peak_gpu_bytes", "peak GPU memory", "gpu")):
        values = tuple(number(side.receipt, "peak_memory_bytes", part) for side in sides)
        if part == "gpu" and all(value is None for value in values):
            continue
        why = _missing(values, [reason(side.receipt, "peak_memory_bytes", part) for side in sides])
        yield Line(id, title, "bytes", "lower", values, _apart(values), "tolerance", ("machine",), (), why)


def _apart(values: Sequence[float | None]) -> Differs:
    def differs(i: int, j: int) -> bool | None:
        one, other = values[i], values[j]
        if one is None or other is None:
            return None
        return abs(one - other) > MEMORY_TOLERANCE * max(one, other)

    return differs
