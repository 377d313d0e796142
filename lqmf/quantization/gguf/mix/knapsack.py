"""The multiple-choice knapsack: one choice for each item, least cost in total, within a capacity. Numbers only.

Choices that another choice of the same item beats in size and cost are dropped; the Lagrangian relaxation gives a bound
and a first answer; choices whose bound is above the best answer are dropped too (reduced costs); the choices left are
searched item by item, keeping only partial sums that could still win. The answer is exact, or comes with the gap that
is proven. Source of the method: Pisinger, "A minimal algorithm for the multiple-choice knapsack problem" (1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_STATES = 50_000  # partial sums kept after an item; where more could win, the answer is no longer proven best
_BISECTIONS = 100
_ROUNDING = 1e-12  # of sums of floats, as a share of them


@dataclass(frozen=True)
class Solution:
    """The choices found: `choices` has the place of each item's choice. No answer can cost less than `bound`."""

    choices: tuple[int, ...]
    cost: float
    size: int
    bound: float

    @property
    def gap(self) -> float:
        """Return how far above `bound` the cost is, as a share of `bound`; 0: proven best."""
        return max(0.0, self.cost - self.bound) / self.bound if self.bound > 0 else float(self.cost > self.bound)


@dataclass(frozen=True)
class _Item:
    """The choices left of one item, by rising size; `places` are their places in the input."""

    sizes: NDArray[np.int64]
    costs: NDArray[np.float64]
    places: NDArray[np.int64]

    def only(self, kept: NDArray[np.bool_]) -> _Item:
        return _Item(self.sizes[kept], self.costs[kept], self.places[kept])


def solve(sizes: Sequence[Sequence[int]], costs: Sequence[Sequence[float]], capacity: int) -> Solution | None:
    """Return the cheapest choices with total size at most `capacity`; None if even the smallest are larger.

    `sizes` and `costs` have a sequence for each item, with a value for each of its choices; costs are finite and not
    negative.
    """
    items = [_undominated(size, cost) for size, cost in zip(sizes, costs, strict=True)]
    if sum(int(item.sizes[0]) for item in items) > capacity:
        return None
    price, bound = _price(items, capacity)
    best = _improved(items, _at(items, price, cheap=False), capacity)
    best_cost = _cost(items, best)
    slack = max(0.0, best_cost - bound) + _ROUNDING * (best_cost + price * capacity)
    left = [item.only(_worth(item, price, slack)) for item in items]
    found, proven = _enumerate(left, capacity, price, best_cost)
    if found is not None:
        items, best = left, found
    cost, size = _cost(items, best), sum(int(item.sizes[at]) for item, at in zip(items, best, strict=True))
    choices = tuple(int(item.places[at]) for item, at in zip(items, best, strict=True))
    return Solution(choices, cost, size, cost if proven else min(bound, cost))


def _undominated(sizes: Sequence[int], costs: Sequence[float]) -> _Item:
    """The choices that no other of the item beats in both, by rising size and falling cost."""
    import numpy as np

    size, cost = np.asarray(sizes, dtype=np.int64), np.asarray(costs, dtype=np.float64)
    order = np.lexsort((cost, size))
    lowest = np.minimum.accumulate(np.concatenate(([np.inf], cost[order][:-1])))
    kept = order[cost[order] < lowest]
    return _Item(size[kept], cost[kept], kept.astype(np.int64))


def _at(items: Sequence[_Item], price: float, *, cheap: bool) -> list[int]:
    """Each item's best choice where a unit of size costs `price`: the larger of equals, or with `cheap` the smaller."""
    import numpy as np

    made = []
    for item in items:
        total = item.costs + price * item.sizes
        made.append(int(np.argmin(total)) if cheap else len(total) - 1 - int(np.argmin(total[::-1])))
    return made


def _price(items: Sequence[_Item], capacity: int) -> tuple[float, float]:
    """The lowest price of size at which the best choices fit, and the bound there.

    The bound at a price is the sum of the items' least (cost + price * size), less price * capacity.
    """

    def size_at(price: float) -> int:
        return sum(int(item.sizes[at]) for item, at in zip(items, _at(items, price, cheap=True), strict=True))

    def bound_at(price: float) -> float:
        return sum(float((item.costs + price * item.sizes).min()) for item in items) - price * capacity

    if size_at(0.0) <= capacity:
        return 0.0, bound_at(0.0)
    low, high = 0.0, 1e-12
    while size_at(high) > capacity:
        low, high = high, high * 4
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if size_at(middle) > capacity else (low, middle)
    return high, bound_at(high)


def _improved(items: Sequence[_Item], start: Sequence[int], capacity: int) -> list[int]:
    """A feasible answer near `start`: shrink where it costs least until all fit, then grow where it gains most."""
    chosen = list(start)
    room = capacity - sum(int(item.sizes[at]) for item, at in zip(items, chosen, strict=True))
    while room < 0:
        room += _step(items, chosen, -1, None)
    while gained := _step(items, chosen, +1, room):
        room += gained
    return chosen


def _step(items: Sequence[_Item], chosen: list[int], way: int, room: int | None) -> int:
    """Move the item that gains most for its size to its next choice in direction `way`; return the size that this frees
    (negative: takes), 0 if no item can move."""
    best, found = 0.0, None
    for place, (item, at) in enumerate(zip(items, chosen, strict=True)):
        to = at + way
        if not 0 <= to < len(item.sizes):
            continue
        size, cost = int(item.sizes[to] - item.sizes[at]), float(item.costs[at] - item.costs[to])
        if room is not None and size > room:
            continue
        worth = abs(cost / size) if way > 0 else abs(size) / max(abs(cost), 1e-300)
        if worth > best:
            best, found = worth, (place, to, -size)
    if found is None:
        return 0
    chosen[found[0]] = found[1]
    return found[2]


def _worth(item: _Item, price: float, slack: float) -> NDArray[np.bool_]:
    """Return which choices an answer as good as the best known one may hold: those at most `slack` above the item's
    least cost + price * size."""
    total = item.costs + price * item.sizes
    kept: NDArray[np.bool_] = total - total.min() <= slack
    return kept


def _enumerate(items: Sequence[_Item], capacity: int, price: float, best_cost: float) -> tuple[list[int] | None, bool]:
    """The best choices of `items` that cost less than `best_cost`, None where there are none; and whether nothing that
    could win was left out."""
    import numpy as np

    order = sorted(range(len(items)), key=lambda place: len(items[place].sizes))
    least = [float((items[place].costs + price * items[place].sizes).min()) for place in order]
    rest = np.concatenate((np.cumsum(least[::-1])[::-1], [0.0])) - price * capacity
    smallest = np.concatenate((np.cumsum([items[place].sizes[0] for place in order][::-1])[::-1], [0]))
    size: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    cost: NDArray[np.float64] = np.zeros(1)
    trail: list[tuple[NDArray[np.int32], NDArray[np.int16]]] = []
    proven = True
    for step, place in enumerate(order):
        item = items[place]
        grown = (size[:, None] + item.sizes).ravel()
        total = (cost[:, None] + item.costs).ravel()
        hope = total + price * grown + rest[step + 1]
        kept = np.flatnonzero((hope < best_cost) & (grown + smallest[step + 1] <= capacity))
        kept = kept[_pareto(grown[kept], total[kept])]
        if len(kept) > _MOST_STATES:
            kept = np.sort(kept[np.argsort(hope[kept])[:_MOST_STATES]])
            proven = False
        if not len(kept):
            return None, proven
        size, cost = grown[kept], total[kept]
        trail.append(((kept // len(item.sizes)).astype(np.int32), (kept % len(item.sizes)).astype(np.int16)))
    last = int(np.argmin(cost))
    return (_walk_back(order, trail, last) if cost[last] < best_cost else None), proven


def _pareto(sizes: NDArray[np.int64], costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """The places of partial sums that no other beats in size and cost."""
    import numpy as np

    order = np.lexsort((costs, sizes))
    lowest = np.minimum.accumulate(np.concatenate(([np.inf], costs[order][:-1])))
    kept: NDArray[np.int64] = order[costs[order] < lowest]
    return kept


def _walk_back(
    order: Sequence[int], trail: Sequence[tuple[NDArray[np.int32], NDArray[np.int16]]], state: int
) -> list[int]:
    chosen = [0] * len(order)
    for place, (parents, choices) in zip(reversed(order), reversed(trail), strict=True):
        chosen[place] = int(choices[state])
        state = int(parents[state])
    return chosen


def _cost(items: Sequence[_Item], chosen: Sequence[int]) -> float:
    return sum(float(item.costs[at]) for item, at in zip(items, chosen, strict=True))
