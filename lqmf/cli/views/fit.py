"""How ways to run a model look: the best side by side, the recommended one marked, and why; or why none fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding

from lqmf.cli.views.messages import done_view, error_view, marked_view, notice_view
from lqmf.cli.views.tables import NONE, Narrowing, cell, table, widths
from lqmf.fit import words
from lqmf.fit.quality import CLEAR, LITTLE, in_a_word
from lqmf.records import Candidate
from lqmf.terminal import clean
from lqmf.units import file_size, memory_pair, memory_size, small

if TYPE_CHECKING:
    from lqmf.fit.classes import SizeClass
    from lqmf.fit.solver import Solution

MARK = "★"
MOST = 5
NO_TYPE = "does not fit"
WORDS = ("type", "cache", "loss", "size", "like")  # columns that are not figures
NARROWER = ("layers", "cache", "KL", "tokens/s", "loss", "file")  # the order in which columns go
NARROWER_SIZES = ("like", "context", "tokens/s", "file")
EVIDENT = ("context", "cache", "loss")  # columns that go first where every row has the same
UNCALIBRATED = "Speeds are unknown until `lqmf doctor --calibrate` has measured this machine."


def fit_view(solution: Solution, asked: int | None = None, *, beside_plan: bool = False) -> RenderableType:
    """The best plans as a table, at most five, and last the recommended line; where nothing fits, what would help.

    `asked` is the context that was asked for. `beside_plan`: the plan with its reasons is shown already, so the line
    only says that it fits."""
    recommended = solution.recommended
    if recommended is None:
        return _nothing(solution)
    shown = list(solution.best[:MOST])
    columns = _columns(shown, shown.index(recommended) if recommended in shown else None)
    parts: list[RenderableType] = [
        _narrowing(columns, NARROWER),
        notice_view(f"Loss (KL, nats a token): how far it strays from the original; {recommended.loss.origin}."),
    ]
    if not any(candidate.speed for candidate in shown):
        parts.append(notice_view(UNCALIBRATED))
    ending = ending_view(solution, asked) if beside_plan else done_view(_recommended(solution, recommended))
    return Group(*parts, ending, *_ways(solution))


def answer_view(model: str, solution: Solution, asked: int | None) -> RenderableType:
    """Whether `model` fits and how, in one line to begin with; what is said of one that does not is short enough.
    `asked` is the context that was asked for, which may be more than the model was trained for."""
    chosen = solution.recommended
    if chosen is None:
        return Group()
    if _too_long(chosen, asked):
        return error_view(f"{clean(model)} takes no {asked:,} tokens: it was trained for {chosen.run.context:,}.")
    return done_view(f"{clean(model)} fits: {_line(chosen)}.")


def ending_view(solution: Solution, asked: int | None) -> RenderableType:
    """The recommended way in one line, with a tick where it is as it was asked for."""
    chosen = solution.recommended
    assert chosen is not None, "who calls it knows that something fits"
    what = f"{_line(chosen)}, in {words.memory(chosen.memory)}."
    if _too_long(chosen, asked):
        return notice_view(f"What fits: {what}")
    return done_view(f"It fits: {what}")


def _too_long(chosen: Candidate, asked: int | None) -> bool:
    return asked is not None and chosen.run.context < asked


def _recommended(solution: Solution, chosen: Candidate) -> str:
    return f"Recommended: {_line(chosen)}. {' '.join(solution.why)}".strip()


def _nothing(solution: Solution, subject: str = "It") -> RenderableType:
    what = "Nothing fits."
    if least := solution.least:
        needed = words.memory(least.memory) if least.memory.gpu else _memory(least)
        what = f"{subject} does not fit: the least, {_line(least)}, needs {needed}."
    return Group(error_view(what), *_ways(solution))


def _ways(solution: Solution) -> list[RenderableType]:
    return [Padding(marked_view("→", "cyan", way), (0, 0, 0, 2)) for way in solution.ways_out]


def _line(candidate: Candidate) -> str:
    run = candidate.run
    chats = f" for each of {run.parallel} chats" if run.parallel > 1 else ""
    cache = "" if run.cache == "f16" else f", cache in {run.cache}"
    return f"{candidate.type}, {run.context:,} tokens{chats}{cache}"


def _columns(shown: Sequence[Candidate], best: int | None) -> Mapping[str, list[str]]:
    """The cells by column; layers only where there is a GPU, speeds only where one is known."""
    gpu = any(candidate.memory.gpu for candidate in shown)
    columns = {
        "type": [f"{MARK if i == best else ' '} {cell(c.type or c.method)}" for i, c in enumerate(shown)],
        "file": [file_size(candidate.file_bytes) for candidate in shown],
        "context": [_context(candidate) for candidate in shown],
        "cache": [candidate.run.cache for candidate in shown],
        "layers": [str(candidate.run.gpu_layers) for candidate in shown] if gpu else [],
        "GPU + RAM" if gpu else "memory": [_memory(candidate) for candidate in shown],
        "loss": [in_a_word(c.loss.kl_nats) for c in shown],
        "KL": [small(c.loss.kl_nats) if c.loss.kl_nats else "0" for c in shown],
        "tokens/s": [_speed(candidate) for candidate in shown] if any(c.speed for c in shown) else [],
    }
    return {name: cells for name, cells in columns.items() if cells}


def _narrowing(columns: Mapping[str, list[str]], order: Sequence[str]) -> Narrowing:
    """The table; where the terminal is narrow, columns go in this order, first those that tell no row from another."""
    evident = [name for name in EVIDENT if len(set(columns.get(name, ()))) == 1]
    going = [*reversed(evident), *(name for name in order if name not in evident)]
    return Narrowing(lambda left_out: _table(columns, left_out), widths(columns, going))


def _table(columns: Mapping[str, list[str]], left_out: Iterable[str]) -> RenderableType:
    kept = {name: cells for name, cells in columns.items() if name not in left_out}
    rows = table(*kept, right=[name for name in kept if name not in WORDS], keep=list(kept))
    for row in zip(*kept.values(), strict=True):
        rows.add_row(*row, style="bold" if row[0].startswith(MARK) else "dim" if NO_TYPE in row else "")
    return rows


def _context(candidate: Candidate) -> str:
    run = candidate.run
    return f"{run.context:,}" + (f" x {run.parallel}" if run.parallel > 1 else "")


def _memory(candidate: Candidate) -> str:
    memory = candidate.memory
    if not memory.gpu:
        return memory_size(memory.ram)
    return memory_pair(memory.gpu, memory.ram)


def _speed(candidate: Candidate) -> str:
    if candidate.speed is None:
        return NONE
    pace = candidate.speed.generation
    return f"{pace:,.0f}" if pace >= 100 else f"{pace:.1f}"


def sizes_view(
    found: Mapping[SizeClass, Solution], assumed: str = "", asked: SizeClass | None = None
) -> RenderableType:
    """What size of model fits in the memory that is `assumed`, a line each, and how; the largest that runs well is
    marked. First of all whether the size that was `asked` for does."""
    answer: list[RenderableType] = [_size_answer(asked, found[asked])] if asked else []
    lines = [(size, solution.recommended) for size, solution in found.items()]
    loss, well, whole = _well(lines)
    best = (whole or well or [""])[-1]
    said = error_view("No model of these sizes fits well.", "Say more memory: `--memory 16GB`.")
    if well:
        beyond = f"; up to {well[-1]} with the rest in RAM" if well[-1] != best else ""
        where = f", as a whole on the GPU{beyond}" if whole else ""
        said = done_view(f"This way, up to {best} fits with {loss}{where}. `plan org/name` has a model's own figures.")
    note = notice_view("By formula, for models of these shapes; a named model is computed exactly.")
    machine = [notice_view(f"For {assumed}. For another: `--memory 24GB`.")] if assumed else []
    return Group(*answer, _narrowing(_size_columns(lines, best), NARROWER_SIZES), *machine, note, said)


def _size_answer(size: SizeClass, solution: Solution) -> RenderableType:
    """Whether a model of a size fits, and what to do where it does not, or loses much."""
    chosen = solution.recommended
    if chosen is None:
        return _nothing(solution, f"A model of {size.name}")
    text = f"A model of {size.name} fits: {_line(chosen)}, in {words.memory(chosen.memory)}"
    loss = in_a_word(chosen.loss.kl_nats)
    return Group(done_view(f"{text}, with {loss} loss." if loss != "none" else f"{text}."), *_ways(solution))


def _size_columns(lines: Sequence[tuple[SizeClass, Candidate | None]], best: str) -> Mapping[str, list[str]]:
    """The cells by column; speeds only where one is known."""
    ways = [chosen for _, chosen in lines]

    def cells(show: Callable[[Candidate], str], nothing: str = NONE) -> list[str]:
        return [show(chosen) if chosen else nothing for chosen in ways]

    columns = {
        "size": [f"{MARK if size.name == best else ' '} {size.name}" for size, _ in lines],
        "like": [size.like for size, _ in lines],
        "type": cells(lambda chosen: chosen.type, NO_TYPE),
        "file": cells(lambda chosen: file_size(chosen.file_bytes)),
        "context": cells(_context),
        "GPU + RAM" if any(chosen and chosen.memory.gpu for chosen in ways) else "memory": cells(_memory),
        "tokens/s": cells(_speed) if any(chosen and chosen.speed for chosen in ways) else [],
    }
    return {name: column for name, column in columns.items() if column}


def _well(lines: Sequence[tuple[SizeClass, Candidate | None]]) -> tuple[str, list[str], list[str]]:
    """With what loss models run well: little, or if none does so a clear one; the sizes that do, smallest first, and
    those of them that lie on the GPU as a whole."""
    fitting = [(size.name, chosen) for size, chosen in lines if chosen]
    little = [(name, chosen) for name, chosen in fitting if chosen.loss.kl_nats <= LITTLE]
    well = little or [(name, chosen) for name, chosen in fitting if chosen.loss.kl_nats <= CLEAR]
    whole = [name for name, chosen in well if chosen.memory.gpu and not chosen.memory.cache_ram]
    return "little loss" if little else "a clear loss, yet usable", [name for name, _ in well], whole
