"""Says in short sentences why a way to run was recommended, and what to do where none fits, or none fits well.

Pure; decides nothing: `lqmf.fit.solver` chose, and hands over its function for choosing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lqmf.fit import words
from lqmf.fit.candidates import (
    ENOUGH_CONTEXT,
    LEAST_CONTEXT,
    LossOf,
    Machine,
    Wish,
    allowed,
    candidates,
    footprint,
    open_contexts,
    shapes,
    wholly,
)
from lqmf.fit.needs import Needs, Weights
from lqmf.fit.quality import CLEAR
from lqmf.records import Candidate, Footprint, Run, Speed
from lqmf.units import file_size, memory_size


@dataclass(frozen=True)
class Case:
    """The whole question to the solver. `bound` is the loss that the wish's priority allows, in nats a token; `choose`
    picks the best of some candidates for it."""

    needs: Mapping[str, Needs]
    machine: Machine
    wish: Wish
    loss: LossOf
    bound: float
    choose: Callable[[Sequence[Candidate]], Candidate | None]

    @property
    def gpu(self) -> bool:
        """Return whether a GPU may be used."""
        return self.machine.gpu_bytes > 0 and self.wish.device != "cpu"


def reasons(chosen: Candidate, found: Sequence[Candidate], case: Case) -> tuple[str, ...]:
    """Explain why `chosen`, of `found`: its type, where its layers lie, its cache, its context, and the room that is
    left."""
    one = case.needs[chosen.method]
    said = (
        _why_type(chosen, case.wish, case.bound),
        _why_layers(chosen, one, case),
        _why_cache(chosen, found, case),
        _why_context(chosen, one, case.wish),
        _room(chosen.memory, case.machine),
    )
    return tuple(sentence for sentence in said if sentence)


def _why_type(chosen: Candidate, wish: Wish, bound: float) -> str:
    loss = f"(expected KL {chosen.loss.kl_nats:.2g})"
    if wish.types is not None and len(wish.types) == 1:
        return f"{chosen.type}, as you said {loss}."
    if chosen.loss.kl_nats > bound or wish.priority == "quality":
        return f"Of what fits, {chosen.type} loses least {loss}."
    praise = {
        "speed": "is the fastest that stays usable",
        "size": "is the smallest that stays usable",
    }.get(wish.priority or "", "is the smallest type with little loss")
    return f"{chosen.type} {praise} {loss}."


def _why_cache(chosen: Candidate, found: Sequence[Candidate], case: Case) -> str:
    if case.wish.cache:
        said = f"The cache is {chosen.run.cache}, as you said."
        slow = "Few builds of llama.cpp keep such a mixed one on a GPU."
        return f"{said} {slow}" if chosen.run.gpu_layers and chosen.run.k_type != chosen.run.v_type else said
    if chosen.run.k_type == chosen.run.v_type == "f16":
        return ""
    exact = [c for c in found if _alike(c, chosen) and c.run.k_type == c.run.v_type == "f16"]
    cache = chosen.run.cache
    if not exact:
        why = f"With its cache in {cache} {chosen.type} fits; in f16 it would not."
    elif wholly(chosen, case.needs) and not any(wholly(c, case.needs) for c in exact):
        why = f"For that its cache is in {cache}; in f16 not all would."
    else:
        why = f"Its cache in {cache} is smaller than in f16."
    return f"{why} Some models bear 4-bit keys badly: test it." if chosen.run.k_type == "q4_0" else why


def _alike(one: Candidate, chosen: Candidate) -> bool:
    return (one.method, one.type, one.run.context) == (chosen.method, chosen.type, chosen.run.context)


def _why_layers(chosen: Candidate, needs: Needs, case: Case) -> str:
    layers, every = chosen.run.gpu_layers, needs.layers + 1
    if layers == every:
        return "Every layer lies on the GPU."
    if layers:
        return f"{layers} of {every} layers lie on the GPU, as many as fit; the rest runs from RAM."
    if case.wish.device == "gpu" and not case.gpu:
        return "There is no GPU to use, so it runs on the CPU."
    return "It runs on the CPU, as you said." if case.wish.device == "cpu" else ""


def _why_context(chosen: Candidate, needs: Needs, wish: Wish) -> str:
    context, trained = chosen.run.context, needs.trained_context
    if context == trained:
        return f"It was trained for {context:,} tokens of context."
    if wish.context:
        beyond = trained is not None and context > trained
        return f"The model was trained for {trained:,} tokens only; beyond that it may ramble." if beyond else ""
    if wish.priority == "size":
        return f"{context:,} tokens of context keep it small."
    enough = "fit without giving up anything else" if context > ENOUGH_CONTEXT else "are enough to talk"
    return f"{context:,} tokens of context {enough}; ask for more if you need more."


def _room(memory: Footprint, machine: Machine) -> str:
    """Say how much memory is taken and left: of RAM beside a GPU only where more than half of the RAM is taken."""
    left = _left(memory.ram, machine.ram_bytes, machine.ram_reason)
    if not memory.gpu:
        return f"It takes {memory_size(memory.ram)} of memory; {left}."
    on_gpu = _left(memory.gpu, machine.gpu_bytes, machine.gpu_reason)
    both = f"{on_gpu}, and {left}" if memory.ram > machine.ram_bytes / 2 else on_gpu
    return f"It takes {memory_size(memory.gpu)} on the GPU and {memory_size(memory.ram)} of RAM; {both}."


def _left(taken: int, usable: int, reason: str) -> str:
    return f"{memory_size(usable - taken)} are left of {reason or memory_size(usable)}"


# ---------------------------------------------------------------- ways out


def ways_out(chosen: Candidate | None, found: Sequence[Candidate], case: Case) -> tuple[str, ...]:
    """Say what the user can do where nothing fits, or where the best candidate loses more than its priority allows or
    is not wholly on the GPU: ask for less, take fewer bits, more memory, a smaller model."""

    def good(one: Candidate) -> bool:
        bearable = one.loss.kl_nats <= case.bound and (not case.gpu or wholly(one, case.needs))
        return chosen is None or bearable

    if chosen and good(chosen):
        return ()
    return (
        *_asking_less(chosen, case, good),
        *_fewer_bits(chosen, found, case),
        *_more_memory(chosen, case),
        *_smaller_model(chosen, case),
    )


def _asking_less(chosen: Candidate | None, case: Case, good: Callable[[Candidate], bool]) -> Iterator[str]:
    """Yield what would fit with one part of the wish given up: the context, the cache, the type or file, the device."""
    wish = case.wish
    shortest = wish.context or min(open_contexts(one)[0] for one in case.needs.values())
    shorter = sorted({c for one in case.needs.values() for c in one.contexts if LEAST_CONTEXT <= c < shortest})
    dropped: tuple[dict[str, Any], ...] = (
        {"cache": None},
        {"types": wish.makeable, "file_bytes": None},
        {"device": None},
    )
    for other, contexts in ((wish, shorter), *((dataclasses.replace(wish, **part), None) for part in dropped)):
        if other == wish and not contexts:
            continue
        fitting = [c for c in candidates(case.needs, case.machine, other, case.loss, _unknown, contexts) if good(c)]
        longest = max((c.run.context for c in fitting), default=0)
        if one := case.choose([c for c in fitting if contexts is None or c.run.context == longest]):
            over = wish.file_bytes is not None and one.file_bytes > wish.file_bytes
            yield _fits(one, chosen is not None and case.gpu, file=over)


def _fewer_bits(chosen: Candidate | None, found: Sequence[Candidate], case: Case) -> Iterator[str]:
    """Yield the type that would lie wholly on the GPU, with a clear but bearable loss."""
    whole = [c for c in found if wholly(c, case.needs) and c.loss.kl_nats <= CLEAR]
    if chosen and case.gpu and not wholly(chosen, case.needs) and whole:
        yield _fits(min(whole, key=lambda c: c.loss.kl_nats), True)


def _more_memory(chosen: Candidate | None, case: Case) -> Iterator[str]:
    wanted = _wanted(chosen, case)
    if wanted is None:
        return
    name, memory = wanted
    missing = []
    if memory.gpu > case.machine.gpu_bytes:
        missing.append(f"{memory_size(memory.gpu - case.machine.gpu_bytes)} more on the GPU")
    if memory.ram > case.machine.ram_bytes:
        missing.append(f"{memory_size(memory.ram - case.machine.ram_bytes)} more memory")
    if missing:
        yield f"With {' and '.join(missing)}, {name} {'lies there as a whole' if memory.gpu else 'fits'}."


def _smaller_model(chosen: Candidate | None, case: Case) -> Iterator[str]:
    wanted = _wanted(chosen, case)
    if wanted is None:
        return
    name, memory = wanted
    on_gpu, in_ram = memory.gpu - memory.program_gpu, memory.ram - memory.program_ram
    if memory.gpu:
        part = (case.machine.gpu_bytes - case.machine.program_gpu) / on_gpu
    else:
        part = (case.machine.ram_bytes - case.machine.program_ram) / in_ram
    if 0.01 <= part < 1:
        where = "lies on the GPU as a whole" if memory.gpu else "fits"
        yield f"A model with {part:.0%} of its parameters {where} as {name}."


def _wanted(chosen: Candidate | None, case: Case) -> tuple[str, Footprint] | None:
    """Return the smallest type that keeps the bound (or else loses least), with the wished cache or f16: its name, and
    the memory that it takes wholly on the GPU, or in RAM without a GPU."""
    ways: list[tuple[float, int, str, Footprint]] = []
    for method, one in case.needs.items():
        context = chosen.run.context if chosen else case.wish.context or open_contexts(one)[0]
        wish = dataclasses.replace(case.wish, context=context, cache=case.wish.cache or ("f16", "f16"))
        for shape in list(shapes(one, wish))[:1]:
            for weights in allowed(one, wish):
                loss = case.loss(method, weights.type, shape.k_type, shape.v_type).kl_nats
                memory = footprint(one, weights, shape, one.layers + 1 if case.gpu else 0, case.machine)
                ways.append((max(loss, case.bound), weights.file_bytes, weights.type, memory))
    first = min(ways, key=lambda way: way[:2], default=None)
    return first and first[2:]


def _fits(one: Candidate, whole: bool, *, file: bool = False) -> str:
    cache = one.run.cache
    how = "" if cache == "f16" else f", its cache in {cache},"
    verb = "lies on the GPU as a whole" if whole else "fits"
    loss = f"expected KL {one.loss.kl_nats:.2g}"
    larger = f", in a file of {file_size(one.file_bytes)}" if file else ""
    return f"With {one.run.context:,} tokens {one.type}{how} {verb}: {words.memory(one.memory)}, {loss}{larger}."


def _unknown(needs: Needs, weights: Weights, run: Run) -> Speed | None:
    """Return no speed: ways out are not ordered by speed."""
    return None
