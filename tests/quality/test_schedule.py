"""Texts take turns in one fixed order, none is left out for want of time, and each stops once it has told enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.quality.receipt.divergence import DivergenceMeter
from lqmf.quality.receipt.schedule import FIRST_LOOK, StoppingRule, WindowSchedule, rounds


def windows(**counts: int) -> dict[str, list[list[int]]]:
    return {name: [[n] for n in range(count)] for name, count in counts.items()}


def order(course: WindowSchedule, **how) -> str:
    return "".join(step.text for step in course.steps(**how))


class Clock:
    """Tells the time that the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def course(told: list | None = None, *, clock: Clock | None = None, seconds: float | None = None, **counts: int):
    report = (lambda *what: told.append(what[:2])) if told is not None else lambda *what: None
    return WindowSchedule(windows(**counts), report, seconds=seconds, clock=clock or Clock())


def test_the_first_text_comes_twice_in_each_round():
    assert "".join(step.text for step in rounds(windows(a=5, b=2, c=3))) == "abcaabcaac"


@given(counts=st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_every_window_comes_once_and_in_its_texts_order(counts):
    steps = rounds(windows(**{f"t{n}": count for n, count in enumerate(counts)}))
    for n, count in enumerate(counts):
        assert [step.window for step in steps if step.text == f"t{n}"] == [[k] for k in range(count)]


def test_a_spent_budget_leaves_four_windows_of_the_first_text_and_two_of_each_other():
    clock = Clock()
    late = course(clock=clock, seconds=1.0, a=20, b=20, c=1)
    clock.now = 9.0
    assert order(late) == "abcaabaa"
    assert late.over


def test_a_budget_that_was_spent_long_ago_leaves_one_window():
    clock = Clock()
    late = course(clock=clock, seconds=-5.0, a=20, b=20)
    clock.now = 99.0
    assert order(late) == "a"
    assert late.over


def test_nothing_more_is_given_when_the_time_is_over():
    clock = Clock()
    timed = course(clock=clock, seconds=10.0, a=20)
    read = 0
    for _ in timed.steps():
        read += 1
        clock.now += 2.0
    assert read == 6  # the sixth begins at ten seconds
    assert timed.over


def test_a_share_of_the_time_is_a_share_of_what_is_left():
    clock = Clock()
    timed = course(clock=clock, seconds=40.0, a=50)
    read = 0
    for _ in timed.steps(share=0.5):
        read += 1
        clock.now += 2.0
    assert read == 11
    assert not timed.over


def test_a_text_that_is_settled_is_read_no_more():
    going = course(a=4, b=9)
    seen = []
    for step in going.steps():
        seen.append(step.text)
        if len(seen) == 3:
            going.finish_text("b")
    assert "".join(seen) == "abaaa"


def test_the_total_that_is_told_shrinks_with_what_is_left_out():
    told: list[tuple[float, float]] = []
    going = course(told, a=2, b=6)
    for _ in going.steps(most=2):
        going.advance()
    going.finish_text("b")
    for _ in going.steps():
        going.advance()
    assert told == [(1, 8), (2, 8), (3, 3)]


def measured(spread: float, tokens: int = 2000) -> DivergenceMeter:
    """A meter over predictions that differ by so much."""
    random = np.random.default_rng(3)
    p = random.normal(size=(tokens, 12)).astype(np.float32)
    meter = DivergenceMeter()
    meter.add(p, p + random.normal(scale=spread, size=p.shape).astype(np.float32), np.zeros(tokens, dtype=np.int64))
    return meter


@pytest.mark.parametrize(("count", "asked"), [(4, False), (8, True), (12, False), (16, True), (24, False), (32, True)])
def test_it_is_asked_at_eight_windows_and_at_each_doubling(count, asked):
    assert StoppingRule({"kl_mean": 1.0, "top1": 0.1}).settles(measured(0.1), count) is asked


def test_without_limits_everything_is_read():
    assert not StoppingRule(None).settles(measured(0.1), FIRST_LOOK)


def test_a_limit_near_what_was_found_needs_more_windows():
    meter = measured(0.1)
    found = meter.divergence()
    for away, settled in ((2, False), (-2, False), (4, True), (-4, True)):
        limits = {"kl_mean": found.mean + away * found.standard_error}
        assert StoppingRule(limits).settles(meter, FIRST_LOOK) is settled
    near = {"kl_mean": 1.0, "top1": meter.top1_agreement - 2 * meter.top1_error}
    assert not StoppingRule(near).settles(meter, FIRST_LOOK)


def test_a_mean_that_is_not_known_within_a_twentieth_needs_more_windows():
    assert not StoppingRule({}).settles(measured(0.1, tokens=100), FIRST_LOOK)
    assert StoppingRule({}).settles(measured(0.1), FIRST_LOOK)
