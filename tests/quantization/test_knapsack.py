"""The multiple-choice knapsack, against brute force and against its own bound."""

from __future__ import annotations

import itertools
import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lqmf.quantization.gguf.mix import knapsack

Item = list[tuple[int, float]]  # size and cost of each choice
ITEMS = st.lists(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60).map(lambda n: n / 8)), min_size=1, max_size=5),
    min_size=1,
    max_size=6,
)
BITS = np.array([2.06, 2.31, 2.56, 2.62, 3.06, 3.44, 4.25, 4.5, 5.0, 5.5, 6.56, 8.5])


def solve(items: list[Item], capacity: int) -> knapsack.Solution | None:
    return knapsack.solve([[s for s, _ in item] for item in items], [[c for _, c in item] for item in items], capacity)


def brute_force(items: list[Item], capacity: int) -> float | None:
    fitting = (chosen for chosen in itertools.product(*items) if sum(size for size, _ in chosen) <= capacity)
    return min((sum(cost for _, cost in chosen) for chosen in fitting), default=None)


@given(ITEMS, st.integers(0, 160), st.sampled_from([1.0, 3e-9, 1e7 / 3]))
def test_the_answer_is_as_cheap_as_brute_force_finds_and_fits(items: list[Item], capacity: int, scale: float) -> None:
    items = [[(size, cost * scale) for size, cost in item] for item in items]
    found, best = solve(items, capacity), brute_force(items, capacity)
    assert (found is None) == (best is None)
    if found is not None and best is not None:
        chosen = [item[place] for item, place in zip(items, found.choices, strict=True)]
        assert found.size == sum(size for size, _ in chosen) <= capacity
        assert abs(found.cost - sum(cost for _, cost in chosen)) <= 1e-9 * scale
        assert abs(found.cost - best) <= 1e-9 * scale
        assert found.gap == 0


@given(ITEMS, st.integers(0, 160))
def test_no_answer_costs_less_than_the_bound_of_a_search_cut_short(items: list[Item], capacity: int) -> None:
    before, knapsack._MOST_STATES = knapsack._MOST_STATES, 1
    try:
        found, best = solve(items, capacity), brute_force(items, capacity)
    finally:
        knapsack._MOST_STATES = before
    if found is not None and best is not None:
        assert found.bound <= best + 1e-9 <= found.cost + 2e-9
        assert found.cost <= found.bound * (1 + found.gap) + 1e-9 or found.bound <= 0


def model(seed: int, tensors: int) -> tuple[list[list[int]], list[list[float]], int]:
    """Sizes and costs as a large model has them: few shapes, errors that fall fourfold with each bit."""
    random = np.random.default_rng(seed)
    weights = np.array([4096 * 4096, 4096 * 1024, 4096 * 14336])[random.integers(0, 3, tensors)]
    costs = [random.lognormal(0, 1) * 4.0**-BITS * random.uniform(0.8, 1.25, len(BITS)) for _ in weights]
    return [(w * BITS / 8).astype(int).tolist() for w in weights], [c.tolist() for c in costs], int(weights.sum())


def test_a_model_of_500_tensors_and_12_types_is_solved_within_a_hundredth_of_a_percent() -> None:
    for seed, bits in ((1, 2.7), (2, 4.3), (3, 6.0)):
        sizes, costs, weights = model(seed, 500)
        started = time.process_time()
        found = knapsack.solve(sizes, costs, int(weights * bits / 8))
        assert found is not None
        assert found.size <= weights * bits / 8
        assert found.gap < 1e-4
        assert time.process_time() - started < 20  # a search that explodes takes minutes; the bench says how long


def test_equal_choices_and_costs_of_nothing_are_no_trouble() -> None:
    found = solve([[(4, 0.0), (4, 0.0), (2, 0.0)]] * 3, 9)
    assert found is not None
    assert (found.cost, found.gap) == (0, 0)
    assert found.size <= 9


def test_a_capacity_below_the_smallest_choices_has_no_answer() -> None:
    assert solve([[(4, 1.0), (6, 0.5)], [(3, 1.0)]], 6) is None
