"""A difference is called one where chance does not explain it, about one time in twenty by mistake, and never without
an error bar."""

from __future__ import annotations

import random

import pytest

from lqmf.quality.compare.significance import by_error, by_pairs, by_runs, critical_t, share_error


def test_two_means_differ_when_they_are_two_joint_errors_apart():
    assert by_error(0.0019, 0.00005, 0.0022, 0.00005) is True
    assert by_error(0.0019, 0.0002, 0.0022, 0.0002) is False
    assert by_error(1.0, 0.0, 1.0, 0.0) is False
    assert by_error(1.0, 0.0, 1.1, 0.0) is True


@pytest.mark.parametrize("error", [None, float("inf"), float("nan")])
def test_without_an_error_bar_nothing_is_said(error):
    assert by_error(1.0, error, 2.0, 0.1) is None


def test_runs_differ_by_their_factor_not_by_their_noise():
    assert by_runs([100, 102, 98], [150, 149, 153]) is True
    assert by_runs([100, 150, 80], [120, 90, 160]) is False
    assert by_runs([5, 5], [5, 5]) is False
    assert by_runs([5, 5], [6, 6]) is True
    assert by_runs([100], [200, 201]) is by_runs([0, 1], [2, 3]) is None


def test_pairs_see_what_the_spread_over_prompts_hides():
    one, other = [0.1, 0.5, 0.9, 0.3, 0.7], [0.15, 0.56, 0.95, 0.34, 0.76]
    assert by_pairs([b - a for a, b in zip(one, other, strict=True)]) is True
    assert by_pairs([0.1, -0.1, 0.05, -0.05]) is False
    assert by_pairs([0.1, 0.1]) is None
    assert by_pairs([0.0, 0.0, 0.0]) is False


@pytest.mark.parametrize("runs", [3, 7])
def test_equal_speeds_are_called_different_about_one_time_in_twenty(runs):
    draw = random.Random(7)
    groups = [[draw.lognormvariate(3, 0.1) for _ in range(runs)] for _ in range(4000)]
    wrong = sum(bool(by_runs(a, b)) for a, b in zip(groups[::2], groups[1::2], strict=True)) / 2000
    assert 0.015 < wrong < 0.07


def test_equal_scores_are_called_different_about_one_time_in_twenty():
    draw = random.Random(7)
    wrong = sum(bool(by_pairs([draw.gauss(0, 1) for _ in range(12)])) for _ in range(2000)) / 2000
    assert 0.03 < wrong < 0.07


def test_critical_values_are_students_and_fall_to_the_normal_one():
    """From a table of the t distribution, two-sided 5 %."""
    assert (critical_t(1), critical_t(4.9), critical_t(30)) == (12.706, 2.776, 2.042)
    assert critical_t(120) == pytest.approx(1.980, abs=0.005)
    assert critical_t(31) < critical_t(30)


def test_a_shares_error_is_that_of_independent_cases_and_never_nothing():
    assert share_error(0.5, 100) == pytest.approx(0.05)
    assert share_error(1.0, 1000) == pytest.approx(share_error(0.999, 1000))
    assert share_error(0.9, 0) is None
