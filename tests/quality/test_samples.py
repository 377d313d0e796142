"""Answers that go in circles are told from answers that do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.quality.checks.checks import answers
from lqmf.quality.receipt.samples import Sample, loops


@given(circle=st.lists(st.integers(0, 99), min_size=1, max_size=16), before=st.lists(st.integers(0, 99), max_size=40))
def test_an_answer_that_ends_in_a_circle_loops(circle, before):
    assert loops([*before, *(circle * 48)])


@given(start=st.integers(0, 1000), length=st.integers(0, 100))
def test_an_answer_that_never_says_a_thing_twice_does_not(start, length):
    assert not loops(list(range(start, start + length)))


def test_a_short_repetition_is_no_circle():
    assert not loops([1, 2, 3] * 10)


def sample(response: str, tokens: tuple[int, ...]) -> Sample:
    return Sample("?", response, tokens, 0.1, 0.2, False, True)


@pytest.mark.parametrize(
    ("samples", "passed"),
    [
        ([sample("fine", (1, 2, 3))], [True, True]),
        ([sample("fine", (1, 2, 3)), sample(" \n", (4,))], [False, True]),
        ([sample("- - -", (4,) * 96)], [True, False]),
    ],
)
def test_each_fault_fails_its_own_check(samples, passed):
    checks = answers(samples)
    assert [check.passed for check in checks] == passed
    assert all(check.detail for check in checks if not check.passed)
