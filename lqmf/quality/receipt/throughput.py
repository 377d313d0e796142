"""Measures how fast a model reads a prompt and writes an answer. Knows an engine that generates, and a clock; no words.

Reading and writing are different work and are measured apart: the time to the first token of a prompt of N tokens is
the time to read N tokens; the time after it is writing. Medians over runs: one slow run on a busy machine then changes
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from lqmf.engines.promise import Engine, Sampling


@dataclass(frozen=True)
class Run:
    """The times of one generation: seconds to the first token, the number of tokens written after it, and their
    seconds."""

    prompt_tokens: int
    first_token_seconds: float
    later_tokens: int
    later_seconds: float


@dataclass(frozen=True)
class Throughput:
    """Medians over `runs` runs. `generation_tokens_per_second` is None when the model ended too early to be timed."""

    prompt_tokens_per_second: float
    generation_tokens_per_second: float | None
    first_token_seconds: float
    runs: int


def time_run(engine: Engine, prompt: Sequence[int], tokens: int, clock: Callable[[], float] = time.perf_counter) -> Run:
    """Continue `prompt` greedily by at most `tokens` tokens, and return the times."""
    start = clock()
    first = last = start
    count = 0
    for piece in engine.generate(prompt, Sampling(max_tokens=tokens)):
        if piece.token is not None:
            last = clock()
            count += 1
            first = last if count == 1 else first
    if count == 0:
        first = last = clock()
    return Run(len(prompt), first - start, max(0, count - 1), last - first)


def measure(
    engine: Engine,
    prompt: Sequence[int],
    *,
    tokens: int,
    runs: int,
    budget_seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Throughput:
    """Return the medians of up to `runs` runs, fewer when `budget_seconds` are over, at least one. Each run reads the
    same number of tokens, `runs` - 1 fewer than the prompt has, and begins one token further on, so that no run finds
    an earlier run's text in a cache."""
    end, length = clock() + budget_seconds, max(1, len(prompt) - runs + 1)
    done: list[Run] = []
    while not done or (len(done) < runs and clock() < end):
        done.append(time_run(engine, prompt[len(done) : len(done) + length], tokens, clock))
    return summarize(done)


def summarize(runs: Sequence[Run]) -> Throughput:
    """Return the medians of `runs` (at least one)."""
    rates = [run.later_tokens / run.later_seconds for run in runs if run.later_tokens >= 4 and run.later_seconds > 0]
    return Throughput(
        prompt_tokens_per_second=median(run.prompt_tokens / max(run.first_token_seconds, 1e-9) for run in runs),
        generation_tokens_per_second=median(rates) if rates else None,
        first_token_seconds=median(run.first_token_seconds for run in runs),
        runs=len(runs),
    )
