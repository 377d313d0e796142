"""Makes the lines of a comparison from receipts and benchmarks, each with the test that tells two of its figures apart.

Pure; draws nothing. A line has a value for every artifact; a missing value is null, with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from lqmf.quality import measures
from lqmf.quality.compare import significance
from lqmf.quality.measures import Better, Measure, follow, number, reason
from lqmf.records import Artifact

Differs = Callable[[int, int], bool | None]  # of two columns: None where it cannot be tested
MEMORY_TOLERANCE = 0.01  # six runs of one file differed by 0.3 % in their peak memory
DOCUMENTATION = "documentation"  # the domain whose figures stand at the top of a receipt


@dataclass(frozen=True)
class Side:
    """A column: an artifact with its receipt and its newest benchmark (each empty where there is none)."""

    artifact: Artifact
    receipt: Mapping[str, Any]
    benchmark: Mapping[str, Any]

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """Return the receipt with the artifact's sizes, as measures read it."""
        return measures.document(self.artifact, self.receipt)

    @property
    def measured(self) -> bool:
        return bool(self.receipt.get("checks"))


@dataclass(frozen=True)
class Line:
    """A figure of every column. `needs` names what must be equal in all columns for the values to be comparable: some
    of "text", "amount", "model", "machine", "prompts", "timed"; `tested` names the test that tells two values apart."""

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
    """Yield every line, in the order of the table."""
    yield from _measures(sides, "file")
    yield from _measures(sides, "quality")
    yield from _domains(sides)
    yield from _answers(sides)
    yield from _tasks(sides)
    timed = all(side.benchmark for side in sides)
    yield from _timed(sides) if timed else ()
    yield from _measures(sides, "machine", timed=timed)


# ---------------------------------------------------------------- helpers


def _missing(values: Sequence[float | None], told: Sequence[str]) -> tuple[str | None, ...]:
    return tuple(why if value is None else None for value, why in zip(values, told, strict=True))


def _by_error(values: Sequence[float | None], errors: Sequence[float | None]) -> Differs:
    def differs(i: int, j: int) -> bool | None:
        one, other = values[i], values[j]
        if one is None or other is None:
            return None
        return significance.by_error(one, errors[i], other, errors[j])

    return differs


# ---------------------------------------------------------------- the receipts' measures


def _measures(sides: Sequence[Side], group: measures.Group, *, timed: bool = False) -> Iterator[Line]:
    """A line for each measure of `group` that says which way is better; where all artifacts were `timed` by benchmarks,
    without measures that a benchmark measures better."""
    for one in measures.MEASURES:
        if one.group == group and one.better and not (timed and one.timed):
            line = _line(one, one.better, [side.document for side in sides])
            if not one.optional or any(value is not None for value in line.values):
                yield line


def _line(one: Measure, better: Better, documents: Sequence[Mapping[str, Any]]) -> Line:
    values = tuple(one.value(each) for each in documents)
    errors = tuple(one.error(each) for each in documents) if one.error else ()
    why = _missing(values, [reason(each, *one.path) for each in documents])
    differs = _differs(one, documents, values, errors)
    return Line(one.id, one.label, one.unit, better, values, differs, one.tested, one.needs, errors, why)


def _differs(
    one: Measure,
    documents: Sequence[Mapping[str, Any]],
    values: Sequence[float | None],
    errors: Sequence[float | None],
) -> Differs:
    """The test that tells two of `values` apart. A figure that is paired with the source's, token by token, has a far
    smaller error bar than an unpaired one."""
    if one.tested == "exact":
        return lambda i, j: values[i] != values[j]
    if one.tested == "tolerance":
        return _apart(values)
    if one.tested is None:
        return lambda i, j: None
    if one.paired:
        values = [number(each, *one.paired, "value") for each in documents]
        errors = [number(each, *one.paired, "standard_error") for each in documents]
    return _by_error(values, errors)


def _domains(sides: Sequence[Side]) -> Iterator[Line]:
    """KL divergence on each domain that at least two artifacts were measured on, with one and the same text."""
    found = [side.receipt.get("domains") or {} for side in sides]
    for name in dict.fromkeys(name for domains in found for name in domains if name != DOCUMENTATION):
        each = [domains.get(name) or {} for domains in found]
        texts = {follow(domain, "text", "sha256") for domain in each if domain.get("kl_divergence")}
        if len(texts) == 1 and sum(bool(domain.get("kl_divergence")) for domain in each) > 1:
            whys = [{"reasons": {"*": domain.get("reason") or "not measured"}, **domain} for domain in each]
            line = _line(measures.named("kl_divergence"), "lower", whys)
            yield replace(line, id=f"{line.id}.{name}", title=f"KL on {name}", needs=("model",))


# ---------------------------------------------------------------- answers and tasks

SCORED = (
    ("quality", "answers: quality"),
    ("coherence", "answers: coherence"),
    ("rougeL", "answers: ROUGE-L"),
    ("ngram_cosine", "answers: like the source's"),
    ("embedding_cosine", "answers: same meaning"),
)


def _answers(sides: Sequence[Side]) -> Iterator[Line]:
    """Scores of answers where at least two artifacts have a benchmark; told apart prompt by prompt."""
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
    """Scores of named tasks that at least two artifacts have run, on as many documents."""
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


def _timed(sides: Sequence[Side]) -> Iterator[Line]:
    """Speeds of the benchmarks at points that all have: with an empty context, the fullest context, and several
    chats."""
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
        title = measures.named("load_seconds").label
        yield Line("load_seconds", title, "seconds", "lower", values, _runs(runs), "runs", ("timed",), (), why)


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


def _apart(values: Sequence[float | None]) -> Differs:
    def differs(i: int, j: int) -> bool | None:
        one, other = values[i], values[j]
        if one is None or other is None:
            return None
        return abs(one - other) > MEMORY_TOLERANCE * max(one, other)

    return differs
