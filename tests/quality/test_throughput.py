"""Reading and writing are timed apart, and the middle of several runs is what counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lqmf.engines.promise import Piece, Sampling
from lqmf.quality.receipt.throughput import Run, measure, summarize, time_run


class Machine:
    """A clock, and an engine that moves it: a second to read, then a tenth of a second a token; `ends` tokens long."""

    def __init__(self, ends: int = 1000, reading: float = 1.0) -> None:
        self.now, self.ends, self.reading = 0.0, ends, reading
        self.prompts: list[list[int]] = []

    def clock(self) -> float:
        return self.now

    def generate(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        self.prompts.append(list(prompt))
        self.now += self.reading
        for number in range(min(self.ends, sampling.max_tokens)):
            self.now += 0.1 if number else 0
            yield Piece("x", number)
        yield Piece("the rest")


def test_a_run_tells_the_first_token_from_the_later_ones():
    machine = Machine()
    run = time_run(machine, [1] * 50, 11, machine.clock)
    assert (run.prompt_tokens, run.first_token_seconds, run.later_tokens) == (50, 1.0, 10)
    assert abs(run.later_seconds - 1.0) < 1e-9


def test_the_median_of_the_runs_is_taken():
    runs = [Run(100, seconds, 10, seconds) for seconds in (1.0, 50.0, 2.0)]
    found = summarize(runs)
    assert (found.prompt_tokens_per_second, found.generation_tokens_per_second) == (50, 5)
    assert (found.first_token_seconds, found.runs) == (2.0, 3)


def test_a_budget_ends_the_runs_but_not_the_first():
    machine = Machine(reading=9.0)
    assert measure(machine, [1] * 20, tokens=4, runs=7, budget_seconds=5, clock=machine.clock).runs == 1
    assert measure(machine, [1] * 20, tokens=4, runs=7, budget_seconds=15, clock=machine.clock).runs == 2


def test_no_run_has_the_prompt_of_another_and_all_are_as_long():
    machine = Machine()
    measure(machine, list(range(20)), tokens=4, runs=3, budget_seconds=1e9, clock=machine.clock)
    assert machine.prompts == [list(range(start, start + 18)) for start in range(3)]


def test_a_model_that_ends_at_once_has_no_writing_speed():
    for ends in (0, 1, 3):
        machine = Machine(ends=ends)
        found = measure(machine, [1] * 20, tokens=9, runs=2, budget_seconds=1e9, clock=machine.clock)
        assert found.generation_tokens_per_second is None
        assert found.prompt_tokens_per_second > 0
