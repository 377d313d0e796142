"""Lists every way to run a model that fits a machine and keeps a wish, and drops the ways that another way beats.

Pure; knows what a model needs; quality and speed come from the functions that it is given. `lqmf.fit.solver` chooses
among these ways.

As many layers are put on the GPU as fit: with a type, cache, context and batch given, fewer layers there free nothing
that another way to run could use and read no faster. (All memory together stays as it is, or shrinks once the last
layer has left the RAM; the GPU's own part grows with each layer, and the RAM's falls, so the largest number that fits
can be bisected.) `pace` is assumed not to fall with more layers on the GPU; no layers there is tried by itself.
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
    """The memory that a plan may use, in bytes, reserves already taken off. `program_ram` is the RAM of the running
    program itself (interpreter, libraries), `program_gpu` the GPU memory of the driver's context and libraries."""

    ram_bytes: int
    gpu_bytes: int = 0
    program_ram: int = 0
    program_gpu: int = 0
    ram_reason: str = ""
    gpu_reason: str = ""


@dataclass(frozen=True)
class Wish:
    """The user's wishes; None leaves a choice open. `context` is in tokens for each of `parallel` chats, `types` the
    only types to choose from, `cache` the types of keys and of values, `file_bytes` the greatest size of the file.
    `makeable` are the types that a way out may name instead (None: all)."""

    context: int | None = None
    parallel: int = 1
    priority: Literal["quality", "speed", "size"] | None = None
    device: Literal["cpu", "gpu"] | None = None
    types: frozenset[str] | None = None
    cache: tuple[str, str] | None = None
    file_bytes: int | None = None
    makeable: frozenset[str] | None = None


class Shape(NamedTuple):
    """The memory that a context takes, in bytes, whatever the weights. `compute` includes `output`."""

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
    """Return the ways to run that fit `machine` and keep `wish`, each with as many layers on the GPU as fit, and with
    none.

    `contexts` replaces the contexts that the wish leaves to choose from. Raises ValueError where `needs` were computed
    for another number of chats than `wish` has.
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
    """Return the weights of the types that the wish allows, by type and by size of the file."""
    most = wish.file_bytes
    return [
        weights
        for weights in needs.weights.values()
        if (wish.types is None or weights.type in wish.types) and (most is None or weights.file_bytes <= most)
    ]


def open_contexts(needs: Needs) -> tuple[int, ...]:
    """Return the contexts to choose from where the wish names none, shortest first, in tokens: those sampled, up to the
    trained context, from 4,096 tokens on, or only the longest where the model has no more."""
    trained = needs.trained_context or needs.contexts[-1]
    usable = [context for context in needs.contexts if context <= trained] or [needs.contexts[0]]
    return tuple(context for context in usable if context >= min(ENOUGH_CONTEXT, usable[-1]))


def shapes(needs: Needs, wish: Wish, contexts: Sequence[int] | None = None) -> Iterator[Shape]:
    """Yield each combination of context, cache types and batch that the wish allows."""
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
    """Compute the memory that running takes, in bytes, in RAM and on the GPU, rather a little too much than too little.

    A partly offloaded model computes on both sides, so its buffers are counted on both; of a model that is wholly on
    the GPU, the output's buffers stay in RAM too.
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
    """Return the way to run that takes the least memory, whether it fits or not; None where the wish allows no type."""
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
    """Return whether every layer and the head lie on the GPU."""
    return candidate.run.gpu_layers > needs[candidate.method].layers


def _placements(needs: Needs, weights: Weights, shape: Shape, machine: Machine, wish: Wish) -> Iterator[int]:
    """Yield the numbers of layers on the GPU that are worth a try. CUDA's attention takes keys and values of one type
    only (as llama.cpp is usually built), otherwise it leaves the GPU: a mixed cache there has to be wished for."""
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
    """Return the candidates that no other beats: no other is as good in loss, memory, speed, context and batch, and
    better in at least one of them.

    The speed is the tokens written a second; where a candidate has no speed, all are compared by the bytes that a token
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
    """Return six numbers to compare candidates by, the lower the better."""
    run, speed = candidate.run, candidate.speed
    slow = (-speed.generation, 0) if paced and speed else (candidate.read_bytes, -run.gpu_layers)
    return candidate.loss.kl_nats, candidate.memory.total, *slow, -run.context, -run.ubatch
