"""The solver's oracle: everything tried, nothing clever, by the words of `memory_optimizer`'s docstring alone.

Every type x keys x values x context x batch x layers on the GPU is laid out and weighed one by one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lqmf.fit.needs import Needs, Weights
from lqmf.fit.quality import expected_loss
from lqmf.fit.solver import Machine, Wish
from lqmf.records import Loss, Run, Speed

Pace = Callable[[Needs, Weights, Run], Speed | None]


def loss(method: str, type: str, k_type: str, v_type: str) -> Loss:
    """The published table."""
    return expected_loss(type, k_type, v_type)


def unknown(needs: Needs, weights: Weights, run: Run) -> Speed | None:
    """A machine that was never measured."""
    return None


def bandwidth(needs: Needs, weights: Weights, run: Run) -> Speed:
    """A token reads all weights: 40 GB a second from RAM, 300 on the GPU."""
    share = run.gpu_layers / (needs.layers + 1)
    seconds = weights.read_bytes * (share / 300e9 + (1 - share) / 40e9)
    return Speed(prompt=20 / seconds, generation=1 / seconds)


@dataclass(frozen=True)
class Way:
    """One way to run, weighed."""

    type: str
    run: Run
    ram: int
    gpu: int
    loss: float
    file: int
    cache: int
    read: int
    side: int  # 0 wholly on the GPU, 1 partly, 2 not
    speed: Speed | None

    @property
    def costs(self) -> tuple[float, ...]:
        """What dominance compares, the lower the better."""
        slow = (-self.speed.generation, 0) if self.speed else (self.read, -self.run.gpu_layers)
        return self.loss, self.ram + self.gpu, *slow, -self.run.context, -self.run.ubatch


def everything(needs: Needs, machine: Machine, wish: Wish, pace: Pace = unknown) -> list[Way]:
    """All ways that fit and keep the wish."""
    usable = [c for c in needs.contexts if c <= (needs.trained_context or c)]
    contexts = [wish.context] if wish.context else [c for c in usable if c >= min(4096, max(usable))]
    ways = itertools.product(
        needs.weights.values(), contexts, needs.cache_types, needs.cache_types, range(needs.layers + 2), needs.ubatches
    )
    found = []
    for weights, context, k, v, layers, ubatch in ways:
        run = Run(context, needs.parallel, k, v, layers, ubatch)
        if _allowed(weights, run, machine, wish):
            found.append(_weighed(needs, weights, run, machine, pace))
    return [way for way in found if way.ram <= machine.ram_bytes and way.gpu <= machine.gpu_bytes]


def _allowed(weights: Weights, run: Run, machine: Machine, wish: Wish) -> bool:
    if wish.types is not None and weights.type not in wish.types:
        return False
    if wish.file_bytes is not None and weights.file_bytes > wish.file_bytes:
        return False
    if wish.cache is not None and wish.cache != (run.k_type, run.v_type):
        return False
    if machine.gpu_bytes == 0 or wish.device == "cpu":
        return run.gpu_layers == 0
    if wish.device == "gpu" and run.gpu_layers == 0:
        return False
    return run.gpu_layers == 0 or run.k_type == run.v_type or wish.cache is not None


def _weighed(needs: Needs, weights: Weights, run: Run, machine: Machine, pace: Pace) -> Way:
    at = run.context, run.k_type, run.v_type, run.ubatch
    layers, whole = run.gpu_layers, run.gpu_layers == needs.layers + 1
    cache, compute = needs.cache_bytes(*at), needs.compute_bytes(*at)
    there = needs.cache_on_gpu(cache, layers)
    on_gpu = weights.on_gpu(layers) + there + compute + machine.program_gpu if layers else 0
    in_ram = weights.in_ram(layers) + cache - there + (needs.output_bytes(*at) if whole else compute)
    side = 0 if whole else 1 if layers else 2
    expected = loss(needs.method, weights.type, run.k_type, run.v_type).kl_nats
    speed = pace(needs, weights, run)
    ram = in_ram + machine.program_ram
    return Way(weights.type, run, ram, on_gpu, expected, weights.file_bytes, cache, weights.read_bytes, side, speed)


def undominated(ways: list[Way]) -> set[tuple[float, ...]]:
    """The costs of those that no other beats."""
    costs = np.unique(np.array([way.costs for way in ways]), axis=0)
    kept = set()
    for one in costs:
        beaten = (costs <= one).all(axis=1) & (costs < one).any(axis=1)
        if not beaten.any():
            kept.add(tuple(one.tolist()))
    return kept


BOUNDS = {"quality": 0.0, None: 0.035, "speed": 0.12, "size": 0.12}


def best(ways: list[Way], wish: Wish) -> Way:
    """What the docstring says to recommend of `ways`, which no other dominates."""

    def slow(way: Way) -> tuple[float, ...]:
        return (-way.speed.generation, -way.speed.prompt) if way.speed else (way.side, way.read)

    def last(way: Way) -> tuple[float, ...]:
        return -way.run.ubatch, -way.run.gpu_layers, way.ram + way.gpu

    orders: dict[str | None, Callable[[Way], tuple[float, ...]]] = {
        "quality": lambda way: (*slow(way), way.loss, *last(way)),
        "speed": lambda way: (*slow(way), way.loss, *last(way)),
        None: lambda way: (way.side, way.file, way.loss, *last(way)),
        "size": lambda way: (way.side, way.run.k_type == "q4_0", way.file + way.cache, way.loss, *last(way)),
    }
    within = [way for way in ways if way.loss <= BOUNDS[wish.priority]]
    if within:
        chosen = min(within, key=orders[wish.priority])
    else:
        chosen = min(ways, key=lambda way: (way.loss, *slow(way), *last(way)))
    if wish.context or wish.priority == "size":
        return chosen
    longer = [way for way in ways if _how(way) == _how(chosen) and way.run.context <= 8192]
    return max([chosen, *longer], key=lambda way: way.run.context)


def _how(way: Way) -> tuple[object, ...]:
    return way.type, way.run.k_type, way.run.v_type, way.run.gpu_layers, way.run.ubatch
