"""Every way to run a model that fits a machine and keeps a wish, and which of them are beaten by another.

Pure; knows what a model needs, no quality and no speed but what it is told. `memory_optimizer` chooses among these.

Layers are put on the GPU as many as fit: with a type, cache, context and batch given, fewer layers there free nothing
that another way to run could use and read no faster. (All memory together stays as it is, or shrinks once the last
layer has left the RAM; the GPU's own part grows with each layer, and the RAM's falls, so what fits can be bisected.)
`pace` is trusted not to fall with more layers on the GPU; none at all there is tried by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lqmf.fit.needs import Needs, Weights
from lqmf.records import Candidate, Footprint, Loss, Run, Speed

LossOf = Callable[[str, str, str, str], Loss]  # method, type, type of keys, type of values
PaceOf = Callable[[Needs, Weights, Run], Speed | None]

# Tokens, where no context was wished for: the least that is offered, where it starts, and where it stops growing.
LEAST_CONTEXT, ENOUGH_CONTEXT, COMFORTABLE_CONTEXT = 1024, 4096, 8192


@dataclass(frozen=True)
class Machine:
    """What a plan may use, in bytes, reserves already taken off. `program_ram` is what the running program itself takes
    of the RAM (interpreter, libraries), `program_gpu` what the driver's context and libraries take on the GPU."""

    ram_bytes: int
    gpu_bytes: int = 0
    program_ram: int = 0
    program_gpu: int = 0
    ram_reason: str = ""
    gpu_reason: str = ""


@dataclass(frozen=True)
class Wish:
    """What was asked for; None leaves it open. `context` is in tokens for each of `parallel` chats, `types` the only
    ones to choose from, `cache` the types of keys and of values, `file_bytes` how large the file may be at most."""

    context: int | None = None
    parallel: int = 1
    priority: Literal["quality", "speed", "size"] | None = None
    device: Literal["cpu", "gpu"] | None = None
    types: frozenset[str] | None = None
    cache: tuple[str, str] | None = None
    file_bytes: int | None = None


class Shape(NamedTuple):
    """What a context takes, in bytes, whatever the weights. `compute` includes `output`."""

    context: int
    k_type: str
    v_type: str
    ubatch: int
    cache: int
    compute: int
    output: int


def candidates(
    needs: Mapping[str, Needs],
    machine: Machine,
    wish: Wish,
    loss: LossOf,
    pace: PaceOf,
    contexts: Sequence[int] | None = None,
) -> list[Candidate]:
    """The ways to run that fit `machine` and keep `wish`, each with as many layers on the GPU as fit, and with none.

    `contexts` replaces those that the wish leaves to choose from. Raises ValueError where `needs` were taken for
    another number of chats than `wish` has.
    """
    found, known = [], {}
    for method, one in needs.items():
        if one.parallel != wish.parallel:
            raise ValueError(f"the needs are those of {one.parallel} chats, the wish has {wish.parallel}")
        for shape in shapes(one, wish, contexts):
            for weights in allowed(one, wish):
                key = method, weights.type, shape.k_type, shape.v_type
                for gpu_layers in _placements(one, weights, shape, machine, wish):
                    memory = footprint(one, weights, shape, gpu_layers, machine)
                    if memory.ram > machine.ram_bytes or memory.gpu > machine.gpu_bytes:
                        continue
                    if key not in known:
                        known[key] = loss(*key)
                    found.append(_candidate(one, weights, shape, gpu_layers, memory, known[key], pace))
    return found


def allowed(needs: Needs, wish: Wish) -> list[Weights]:
    """The types that the wish leaves."""
    most = wish.file_bytes
    return [
        weights
        for weights in needs.weights.values()
        if (wish.types is None or weights.type in wish.types) and (most is None or weights.file_bytes <= most)
    ]


def open_contexts(needs: Needs) -> tuple[int, ...]:
    """The contexts to choose from where none was wished for, shortest first: those sampled, up to the trained one, from
    4,096 tokens on, or only the longest where the model has no more."""
    trained = needs.trained_context or needs.contexts[-1]
    usable = [context for context in needs.contexts if context <= trained] or [needs.contexts[0]]
    return tuple(context for context in usable if context >= min(ENOUGH_CONTEXT, usable[-1]))


def shapes(needs: Needs, wish: Wish, contexts: Sequence[int] | None = None) -> Iterator[Shape]:
    """Every context, cache and batch that the wish leaves."""
    if contexts is None:
        contexts = (wish.context,) if wish.context else open_contexts(needs)
    pairs = [(k, v) for k in needs.cache_types for v in needs.cache_types if k == v or needs.mixed_cache]
    for context in contexts:
        for k, v in pairs:
            if wish.cache not in (None, (k, v)):
                continue
            for ubatch in needs.ubatches:
                cache, compute = needs.cache_bytes(context, k, v, ubatch), needs.compute_bytes(context, k, v, ubatch)
                yield Shape(context, k, v, ubatch, cache, compute, needs.output_bytes(context, k, v, ubatch))


def footprint(needs: Needs, weights: Weights, shape: Shape, gpu_layers: int, machine: Machine) -> Footprint:
    """What running takes, and where. A partly offloaded model computes on both sides, so its buffers are counted on
    both; of one that is on the GPU as a whole, the output's stay in RAM too. A little too much rather than too little.
    """
    if gpu_layers <= 0:
        return Footprint(weights.in_ram(0), shape.cache, shape.compute, machine.program_ram)
    on_gpu = needs.cache_on_gpu(shape.cache, gpu_layers)
    return Footprint(
        weights_ram=weights.in_ram(gpu_layers),
        cache_ram=shape.cache - on_gpu,
        compute_ram=shape.output if gpu_layers > needs.layers else shape.compute,
        program_ram=machine.program_ram,
        weights_gpu=weights.on_gpu(gpu_layers),
        cache_gpu=on_gpu,
        compute_gpu=shape.compute,
        program_gpu=machine.program_gpu,
    )


def least(needs: Mapping[str, Needs], machine: Machine, wish: Wish, loss: LossOf, pace: PaceOf) -> Candidate | None:
    """The way to run that takes the least memory of all, whether it fits or not; None where the wish leaves no type."""
    smallest = []
    for one in needs.values():
        gpu = machine.gpu_bytes > 0 and wish.device == "gpu"
        layers = one.layers + 1 if gpu else 0
        kinds = sorted(allowed(one, wish), key=lambda weights: weights.on_gpu(layers) + weights.in_ram(layers))
        ways = sorted(shapes(one, wish), key=lambda shape: shape.cache + shape.compute)
        for weights, shape in zip(kinds[:1], ways[:1], strict=False):
            memory = footprint(one, weights, shape, layers, machine)
            expected = loss(one.method, weights.type, shape.k_type, shape.v_type)
            smallest.append(_candidate(one, weights, shape, layers, memory, expected, pace))
    return min(smallest, key=lambda candidate: candidate.memory.total, default=None)


def wholly(candidate: Candidate, needs: Mapping[str, Needs]) -> bool:
    """Whether every layer and the head lie on the GPU."""
    return candidate.run.gpu_layers > needs[candidate.method].layers


def _placements(needs: Needs, weights: Weights, shape: Shape, machine: Machine, wish: Wish) -> Iterator[int]:
    """Numbers of layers on the GPU worth trying. CUDA's attention takes keys and values of one type only (as llama.cpp
    is usually built), or it leaves the GPU: there a mixed cache has to be wished for."""
    gpu = machine.gpu_bytes > 0 and wish.device != "cpu"
    if not gpu or wish.device is None:
        yield 0
    if not gpu or (shape.k_type != shape.v_type and wish.cache is None):
        return
    room = machine.gpu_bytes - machine.program_gpu - shape.compute
    most = bisect_right(
        range(1, needs.layers + 2), room, key=lambda n: weights.on_gpu(n) + needs.cache_on_gpu(shape.cache, n)
    )
    if most > needs.layers or (most and needs.splits):
        yield most


def _candidate(
    needs: Needs, weights: Weights, shape: Shape, gpu_layers: int, memory: Footprint, loss: Loss, pace: PaceOf
) -> Candidate:
    run = Run(shape.context, needs.parallel, shape.k_type, shape.v_type, gpu_layers, shape.ubatch)
    speed = pace(needs, weights, run)
    file, read = weights.file_bytes, weights.read_bytes
    return Candidate(needs.method, weights.type, weights.bits, run, file, memory, loss, read, speed)


def undominated(found: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other beats: as good in loss, memory, speed, context and batch, and better in one of them.

    The speed is the tokens written a second; where one candidate has none, all are compared by the bytes that a token
    reads and by the layers on the GPU. The batch stands for the speed of reading a prompt.
    """
    everything = list(found)
    paced = all(candidate.speed for candidate in everything)
    kept: list[tuple[float, ...]] = []
    best = []
    for costs, candidate in sorted(((_costs(c, paced), c) for c in everything), key=lambda pair: pair[0]):
        _, memory, read, layers, context, ubatch = costs
        for i, (_, m, r, g, c, u) in enumerate(kept):  # in this order none before it has more loss
            if m <= memory and r <= read and g <= layers and c <= context and u <= ubatch and kept[i] != costs:
                kept.insert(0, kept.pop(i))  # what beats one beats its likes: it is asked first
                break
        else:
            kept.append(costs)
            best.append(candidate)
    return best


def _costs(candidate: Candidate, paced: bool) -> tuple[float, ...]:
    """Six numbers, each the lower the better."""
    run, speed = candidate.run, candidate.speed
    slow = (-speed.generation, 0) if paced and speed else (candidate.read_bytes, -run.gpu_layers)
    return candidate.loss.kl_nats, candidate.memory.total, *slow, -run.context, -run.ubatch
