"""Measures how speed changes with the tokens already in the context, and with the number of chats at once. Knows a
batch and a clock.

As in llama-bench with `-d`: the context is filled first, which is not timed; then reading and writing are timed. Each
figure is the median of several runs, which are kept: their spread shows which differences mean something.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from lqmf.engines.batching import Batch, Batching
from lqmf.errors import ResourceError, UsageError

Clock = Callable[[], float]


@dataclass(frozen=True)
class Load:
    """The work of one run: tokens read and written in each chat. `runs` is the greatest number of runs."""

    prompt_tokens: int
    written_tokens: int
    runs: int

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.written_tokens


@dataclass(frozen=True)
class Point:
    """A setting at which speed is measured: the number of chats at once, and the tokens already in each chat's
    context."""

    parallel: int
    context_tokens: int


def points(context_length: int, parallel: int, load: Load, depths: Sequence[int]) -> list[Point]:
    """Return a point for every depth of `depths` that fits `context_length` with the load: with one chat, then with
    `parallel`."""
    fitting = [depth for depth in depths if depth + load.tokens <= context_length]
    return [Point(chats, depth) for chats in dict.fromkeys((1, parallel)) for depth in fitting]


def measure(
    engine: Any,
    tokens: Sequence[int],
    wanted: Sequence[Point],
    load: Load,
    budget_seconds: float,
    clock: Clock = time.perf_counter,
) -> Iterator[dict[str, Any]]:
    """Yield for each point, when it is done:

        {"parallel", "context_tokens",
         "prompt": {"tokens", "per_second", "runs": [tokens a second, of all chats together]} or null,
         "generation": the same or null, "reason": why they are null, or null}

    Runs end when `budget_seconds` are over, after at least one run. A depth whose filling would take longer than the
    time left has no figures, with that reason. `tokens` are the text to read, repeated as needed.
    """
    end, seconds_by_token = clock() + budget_seconds, 0.0
    for point in wanted:
        left, filling = end - clock(), seconds_by_token * point.context_tokens * point.parallel
        reason = _impossible(engine, point, load)
        if reason is None and filling > left:
            reason = f"filling the context takes about {filling:.0f} s, and {max(0.0, left):.0f} s are left"
        runs, reason = ([], reason) if reason else _runs(engine, tokens, point, load, end, clock)
        if runs:
            seconds_by_token = median(seconds for seconds, _ in runs) / (load.prompt_tokens * point.parallel)
        yield _told(point, load, runs, reason)


def _impossible(engine: Any, point: Point, load: Load) -> str | None:
    if not isinstance(engine, Batching):
        return "this engine cannot be timed at a depth, or with several chats at once"
    if point.context_tokens and point.parallel * (point.context_tokens + load.tokens) > engine.context_length:  # type: ignore[attr-defined]
        cells = point.parallel * (point.context_tokens + load.tokens)
        return f"it needs a cache of {cells} tokens, more than the context for which this model is run"
    return None


Times = list[tuple[float, float]]  # seconds of reading and of writing, of each run


def _runs(
    engine: Batching, tokens: Sequence[int], point: Point, load: Load, end: float, clock: Clock
) -> tuple[Times, str | None]:
    """The times of each run, or why there are none."""
    runs: Times = []
    try:
        with engine.batch(point.parallel, point.context_tokens + load.tokens) as batch:
            while not runs or (len(runs) < load.runs and clock() < end):
                runs.append(_run(batch, tokens, point, load, len(runs), clock))
    except (ResourceError, UsageError) as error:
        return [], error.message
    return runs, None


def _run(
    batch: Batch, tokens: Sequence[int], point: Point, load: Load, number: int, clock: Clock
) -> tuple[float, float]:
    batch.clear()
    if point.context_tokens:
        batch.feed(_texts(tokens, point, point.context_tokens, number))
    prompts = _texts(tokens, point, load.prompt_tokens, number + 1)
    started = clock()
    batch.feed(prompts)
    read = clock()
    for _ in range(load.written_tokens):
        batch.step()
    return read - started, clock() - read


def _texts(tokens: Sequence[int], point: Point, length: int, shift: int) -> list[list[int]]:
    """A text of `length` tokens for each chat, each beginning at another place in `tokens`."""
    starts = [(shift + chat * 7) % len(tokens) for chat in range(point.parallel)]
    return [[tokens[(start + i) % len(tokens)] for i in range(length)] for start in starts]


def _told(point: Point, load: Load, runs: Times, reason: str | None) -> dict[str, Any]:
    def rates(count: int, part: int) -> Mapping[str, Any] | None:
        found = [count * point.parallel / max(run[part], 1e-9) for run in runs]
        return {"tokens": count, "per_second": median(found), "runs": found} if found else None

    return {
        "parallel": point.parallel,
        "context_tokens": point.context_tokens,
        "prompt": rates(load.prompt_tokens, 0),
        "generation": rates(load.written_tokens, 1),
        "reason": reason,
    }
