"""Finds the best way to run a model on a machine: type, cache, context, batch and layers on the GPU, all at once.

Pure; knows no file and no library. `lqmf.fit.candidates` lists the candidates and tells which fit.

A candidate fits when its footprint is within the machine's RAM and GPU memory. It is dominated when another that fits,
under the same wish, is as good in loss, memory, speed, context and batch, and better in one. The recommended candidate
is never dominated. Each priority has a bound of loss (`lqmf.fit.quality`) and an order among candidates that keep it:

    quality   none at all            the fastest
    None      little loss            on the GPU as far as it goes, then the smallest type, then the least loss
    speed     a clear loss at most   the fastest, then the least loss
    size      a clear loss at most   on the GPU as far as it goes, then without 4-bit keys (some models bear them
                                     badly), then the least weights and cache together

The fastest writes the most tokens a second; where that is unknown, it is on the GPU as far as it goes (wholly, partly,
not), then reads the fewest bytes. The last criteria are a larger batch, more layers on the GPU, less memory. Where no
candidate that fits keeps the bound, the least loss wins, then the fastest.

So more memory never gives a worse loss where quality is the priority, and otherwise never one that is both worse than
before and beyond the bound. (Never worse at all would forbid a q8_0 cache, 0.0013 nats, to those whose card then holds
every layer, because with f16 a part of them fits on a smaller card.)

An f16 cache has the least loss, so another is recommended only where it makes a better type, the wished context, or all
layers on the GPU possible, or where size is the priority. Where no context is wished, it is at least 4,096 tokens (or
the trained length), and goes up to 8,192 where that changes neither type nor cache nor layers. A shorter context is
never taken unasked: it is offered as a way out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lqmf.fit.candidates import (
    COMFORTABLE_CONTEXT,
    LossOf,
    Machine,
    PaceOf,
    Wish,
    candidates,
    least,
    undominated,
    wholly,
)
from lqmf.fit.needs import Needs
from lqmf.fit.quality import CLEAR, LITTLE, WEIGHTS
from lqmf.fit.reasons import Case, reasons, ways_out
from lqmf.records import Candidate

__all__ = ["Machine", "Solution", "Wish", "solve"]

USUAL_TYPE = "Q4_K_M"
BOUNDS = {"quality": 0.0, None: LITTLE, "speed": CLEAR, "size": CLEAR}  # nats a token, by priority
MOST = 5  # candidates worth a look


@dataclass(frozen=True)
class Solution:
    """The answer of `solve`. `why` explains it in short sentences; `best` are at most five of `pareto`, the recommended
    first, each best at something; `ways_out` is what the user can do where nothing fits, or where the recommended
    candidate loses much or is not wholly on the GPU; `least` takes the least memory, whether it fits or not (None: the
    wish allows no type)."""

    recommended: Candidate | None
    why: tuple[str, ...]
    pareto: tuple[Candidate, ...]
    best: tuple[Candidate, ...]
    ways_out: tuple[str, ...]
    least: Candidate | None


def solve(needs: Mapping[str, Needs], machine: Machine, wish: Wish, loss: LossOf, pace: PaceOf) -> Solution:
    """Find the best ways to run a model with these `needs` (by method) on `machine`.

    `loss(method, type, k_type, v_type)` is the expected loss, `pace(needs, weights, run)` the expected speed, or None
    where it is unknown. Raises ValueError where `needs` were computed for another number of chats than wished.
    """
    found = candidates(needs, machine, wish, loss, pace)
    pareto = undominated(found)
    scale = min(1.0, loss("gguf", USUAL_TYPE, "f16", "f16").kl_nats / WEIGHTS[USUAL_TYPE])
    chooser = _chooser(wish.priority, scale, needs)
    case = Case(needs, machine, wish, loss, (BOUNDS[wish.priority] or LITTLE) * scale, chooser)
    chosen = case.choose(pareto)
    if chosen and wish.context is None and wish.priority != "size":
        chosen = _longer(chosen, pareto)
    return Solution(
        recommended=chosen,
        why=reasons(chosen, found, case) if chosen else (),
        pareto=tuple(pareto),
        best=_best(chosen, pareto, scale, needs) if chosen else (),
        ways_out=ways_out(chosen, found, case),
        least=least(needs, machine, wish, loss, pace),
    )


def _chooser(
    priority: str | None, scale: float, needs: Mapping[str, Needs]
) -> Callable[[Sequence[Candidate]], Candidate | None]:
    """Return the function that picks the best of some candidates for `priority`, whose bound is multiplied by `scale`;
    it returns None where there are no candidates."""
    bound = BOUNDS[priority] * scale

    def choose(found: Sequence[Candidate]) -> Candidate | None:
        paced = all(candidate.speed for candidate in found)
        within = [candidate for candidate in found if candidate.loss.kl_nats <= bound]

        def order(one: Candidate) -> tuple[Any, ...]:
            loss, side = one.loss.kl_nats, _side(one, needs)
            slow = (-one.speed.generation, -one.speed.prompt) if paced and one.speed else (side, one.read_bytes)
            last = (-one.run.ubatch, -one.run.gpu_layers, one.memory.total)
            if not within:
                return loss, slow, last
            if priority is None:
                return side, one.file_bytes, loss, last
            if priority == "size":
                cache = one.memory.cache_ram + one.memory.cache_gpu
                return side, one.run.k_type == "q4_0", one.file_bytes + cache, loss, last
            return slow, loss, last

        return min(within or found, key=order, default=None)

    return choose


def _side(one: Candidate, needs: Mapping[str, Needs]) -> int:
    """Return 0 for a candidate wholly on the GPU, 1 for partly, 2 for not at all."""
    return 0 if wholly(one, needs) else 1 if one.run.gpu_layers else 2


def _longer(chosen: Candidate, pareto: Sequence[Candidate]) -> Candidate:
    """Return the chosen way to run with the longest context up to a comfortable one."""
    alike = [c for c in pareto if _how(c) == _how(chosen) and c.run.context <= COMFORTABLE_CONTEXT]
    return max([chosen, *alike], key=lambda candidate: candidate.run.context)


def _how(one: Candidate) -> tuple[Any, ...]:
    run = one.run
    return one.method, one.type, run.k_type, run.v_type, run.gpu_layers, run.ubatch


def _best(
    chosen: Candidate, pareto: Sequence[Candidate], scale: float, needs: Mapping[str, Needs]
) -> tuple[Candidate, ...]:
    """Return the chosen candidate; the choice of each other priority at its context; the longest context; then other
    types."""
    alike = [c for c in pareto if c.run.context == chosen.run.context]
    most = max(LITTLE * scale, chosen.loss.kl_nats)
    longest = max((c.run.context for c in pareto if c.loss.kl_nats <= most), default=chosen.run.context)
    offered = [chosen, *(_chooser(priority, scale, needs)(alike) for priority in (None, "quality", "speed", "size"))]
    offered.append(_chooser(None, scale, needs)([c for c in pareto if c.run.context == longest]))
    types = {c.type for c in offered if c}
    others = [c for c in alike if c.type not in types and c.loss.kl_nats <= max(CLEAR, chosen.loss.kl_nats)]
    for name in dict.fromkeys(c.type for c in sorted(others, key=lambda c: c.loss.kl_nats)):
        offered.append(_chooser(None, scale, needs)([c for c in others if c.type == name]))
    ways = {(c.method, c.type, c.run.context, c.run.k_type, c.run.v_type): c for c in reversed(offered) if c}
    distinct = sorted(ways.values(), key=offered.index)
    first = {(c.method, c.type, c.run.context): c for c in reversed(distinct)}
    ordered = sorted(distinct, key=lambda c: c not in first.values())  # other caches of the same type come last
    return tuple(ordered[:MOST])
