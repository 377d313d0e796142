"""Learning from predictions: little from few, more from many that agree, and nothing from one that is wild."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lqmf.fit.corrections import LEAST, NEWEST, PRIOR_LEVEL, Corrections, Job, fit, learn, measured_losses

SPEED = "generation_tokens_per_second"
PLACE = {"machine": "c", "device": "cpu", "method": "gguf"}

sizes = st.floats(1e-3, 1e13)
ratios = st.floats(0.01, 100.0)
pairs = st.tuples(sizes, ratios)


def row(predicted: float, measured: float, quantity: str = SPEED, **more: Any) -> dict[str, Any]:
    about = {"model": "org/m", "type": "Q4_K_M", "quantity": quantity}
    return {**PLACE, **about, "predicted": predicted, "uncorrected": predicted, "measured": measured, **more}


def learnt(points: Sequence[tuple[float, float]]) -> Corrections:
    return fit([row(size, size * ratio) for size, ratio in points])


def apply(corrections: Corrections, predicted: float, quantity: str = SPEED) -> float:
    return corrections.apply(quantity, predicted, **PLACE)


# ---------------------------------------------------------------- the line


@pytest.mark.parametrize("count", range(1, LEAST))
def test_nothing_is_corrected_before_there_is_enough(count: int) -> None:
    corrections = learnt([(100.0, 0.5)] * count)
    assert apply(corrections, 100.0) == 100.0
    assert corrections.by_key
    assert apply(fit([]), 100.0) == 100.0


def test_the_level_is_the_mean_shrunk_by_what_the_prior_counts() -> None:
    """Worked out by hand: four that agree on 0.5, against two of the prior on 1."""
    corrections = learnt([(100.0, 0.5)] * 4)
    assert apply(corrections, 100.0) == pytest.approx(100 * 0.5 ** (4 / (4 + PRIOR_LEVEL)))


def test_an_error_that_grows_with_size_is_learnt_as_a_slope() -> None:
    """Truth: measured = predicted ** 0.9, over four decades; level and slope come close, and stay at the ends."""
    points = [(10.0**n, (10.0**n) ** -0.1) for n in range(5) for _ in range(8)]
    corrections = learnt(points)
    for size, ratio in points:
        assert apply(corrections, size) == pytest.approx(size * ratio, rel=0.06)
    assert apply(corrections, 1e9) / 1e9 == pytest.approx(apply(corrections, 1e4) / 1e4)
    assert apply(corrections, 1e-5) / 1e-5 == pytest.approx(apply(corrections, 1.0))


@given(ratio=ratios, few=st.integers(LEAST, 30), more=st.integers(1, 30), size=sizes)
def test_more_that_agree_bring_the_correction_closer_and_never_beyond(
    ratio: float, few: int, more: int, size: float
) -> None:
    def off(count: int) -> float:
        return math.log(ratio) - math.log(apply(learnt([(size, ratio)] * count), size) / size)

    assume(abs(math.log(ratio)) > 1e-6)
    bounded = abs(math.log(ratio)) > math.log(10)  # beyond a factor of ten nothing is corrected further
    assert abs(off(few + more)) <= abs(off(few)) + 1e-9 if bounded else abs(off(few + more)) < abs(off(few))
    assert off(few) * math.log(ratio) > 0


@given(points=st.lists(pairs, max_size=25), low=sizes, factor=st.floats(1 + 1e-6, 1e6))
def test_whatever_was_seen_a_correction_is_positive_bounded_and_rising(
    points: list[tuple[float, float]], low: float, factor: float
) -> None:
    corrections = learnt(points)
    smaller, larger = apply(corrections, low), apply(corrections, low * factor)
    assert 0 < smaller < larger
    assert low / 10.001 < smaller < low * 10.001


@given(
    seed=st.integers(0, 2**32), bias=st.floats(0.3, 3.0), spread=st.floats(1.0, 30.0),
    wild=st.floats(2.0, 1e6), slower=st.booleans(), where=st.floats(1e-3, 1e3), place=st.integers(0, 9),
)  # fmt: skip
def test_one_wild_job_among_ten_moves_no_correction_by_more_than_five_percent(
    seed: int, bias: float, spread: float, wild: float, slower: bool, where: float, place: int
) -> None:
    """Nine scatter by 4 % about a bias; the tenth is off by more than a factor of two, at any size."""
    dice = random.Random(seed)
    nine = [(100 * spread ** dice.uniform(-1, 1), bias * math.exp(dice.gauss(0, 0.04))) for _ in range(9)]
    tenth = (100 * where, bias / wild if slower else bias * wild)
    ten = [*nine[:place], tenth, *nine[place:]]
    for size, _ in nine:
        assert apply(learnt(ten), size) == pytest.approx(apply(learnt(nine), size), rel=0.05)


def test_a_wild_job_counts_nothing_at_all() -> None:
    nine = [(100.0 * n, 0.9 + 0.01 * (n % 3)) for n in range(1, 10)]
    with_it = learn([Job(s, s, s * r) for s, r in [*nine, (1e6, 50.0)]])
    without = learn([Job(s, s, s * r) for s, r in nine])
    assert with_it is not None
    assert without is not None
    assert with_it.high == without.high
    assert with_it.level == pytest.approx(without.level, abs=0.005)
    assert with_it.slope == pytest.approx(without.slope, abs=0.005)


# ---------------------------------------------------------------- what is learnt apart


@pytest.mark.parametrize("other", [{"machine": "d"}, {"device": "gpu"}, {"method": "bnb"}, {"quantity": "size_bytes"}])
def test_each_machine_device_method_and_quantity_learns_for_itself(other: dict[str, str]) -> None:
    corrections = fit([row(100, 50) for _ in range(5)] + [row(100, 200, **other) for _ in range(5)])
    here = {**PLACE, "quantity": SPEED}
    assert corrections.apply(predicted=100.0, **here) < 70
    assert corrections.apply(predicted=100.0, **{**here, **other}) > 150
    assert corrections.apply(predicted=100.0, **{**here, "machine": "unknown"}) == 100.0


def test_a_correction_fits_where_a_plain_function_is_wanted() -> None:
    correct = functools.partial(learnt([(100.0, 0.5)] * 9).apply, **PLACE)
    assert correct(SPEED, 100.0) < 60


def test_learning_goes_on_from_predictions_that_were_corrected_already() -> None:
    """Ten jobs predicted raw, then thirty whose predictions were corrected: nothing is unlearnt."""
    rows = [row(100, 60) for _ in range(10)]
    for _ in range(30):
        rows.insert(0, row(apply(fit(rows), 100.0), 60, uncorrected=100.0))
    assert apply(fit(rows), 100.0) == pytest.approx(60, rel=0.03)
    (correction,) = fit(rows).by_key.values()
    assert correction.error < correction.error_before


def test_the_newest_count() -> None:
    rows = [row(100, 80) for _ in range(NEWEST)] + [row(100, 300) for _ in range(500)]
    (correction,) = fit(rows).by_key.values()
    assert len(correction.jobs) == NEWEST
    assert apply(fit(rows), 100.0) < 82


@pytest.mark.parametrize("measured", [0.0, -1.0])
def test_what_has_no_logarithm_is_passed_over(measured: float) -> None:
    assert fit([row(1.0, measured, "kl_nats"), row(0.0, 1.0)]).by_key == {}
    corrections = learnt([(1.0, 2.0)] * 5)
    assert apply(corrections, 0.0) == 0.0


def test_a_row_of_before_corrections_has_none_to_take_back() -> None:
    assert apply(fit([row(100, 50, uncorrected=None)] * 5), 100.0) < 70


# ---------------------------------------------------------------- told


def test_it_says_what_it_learnt_and_what_that_is_worth_to_a_job_it_has_not_seen() -> None:
    corrections = learnt([(100.0 * n, 0.86 + 0.02 * (n % 2)) for n in range(1, 8)])
    assert corrections.describe() == ["writing, gguf on cpu: measured 0.88 x predicted over 7 jobs (error 12 % -> 2 %)"]
    assert fit([row(100, 91, "size_bytes")]).describe() == [
        "size, gguf on cpu: measured 0.91 x predicted over 1 job (error 9 %)"
    ]


def test_the_error_after_correction_is_that_of_jobs_left_out() -> None:
    points = [(100.0, 0.8), (100.0, 0.9), (100.0, 0.7), (100.0, 0.85), (100.0, 2.0)]
    (correction,) = learnt(points).by_key.values()
    by_hand = []
    for n, (size, ratio) in enumerate(points):
        others = learnt(points[:n] + points[n + 1 :])
        by_hand.append(abs(size * ratio / apply(others, size) - 1))
    assert correction.error_after == sorted(by_hand)[2]
    assert correction.worst == 1.0
    document = correction.to_json()
    assert (document["jobs"], document["missed"]) == (5, 4)  # 0.9 is no miss
    assert document["uncorrected_error"] == document["median_error"] == pytest.approx(0.2)


def test_three_teach_but_none_of_them_can_be_left_out() -> None:
    (correction,) = learnt([(100.0, 0.8)] * 3).by_key.values()
    assert correction.line is not None
    assert correction.error_after is None


# ---------------------------------------------------------------- quality


def test_a_models_own_loss_is_measured_by_type_and_never_corrected() -> None:
    rows = [
        row(0.004, value, "kl_nats", type=kind, model=model)
        for value, kind, model in [
            (0.002, "Q4_K_M", "org/m"), (0.003, "Q4_K_M", "org/m"), (0.9, "Q4_K_M", "org/m"), (0.01, "Q3_K_M", "org/m"),
            (0.5, "Q4_K_M", "other/m"), (-0.0001, "Q8_0", "org/m"),
        ]
    ]  # fmt: skip
    assert measured_losses([*rows, row(1, 2)], "org/m") == {"Q4_K_M": 0.003, "Q3_K_M": 0.01}
    assert measured_losses(rows, "unknown/m") == {}
    assert apply(fit(rows), 0.004, "kl_nats") == 0.004
    (correction,) = fit(rows).by_key.values()
    assert correction.to_json()["corrected_error"] is None
