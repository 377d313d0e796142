"""Says why each field of a plan has its value, and whose choice it was: words for the decisions of the Planner.

Pure; decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lqmf.fit import mix
from lqmf.fit.needs import Needs, Weights
from lqmf.fit.solver import Machine, Solution
from lqmf.model_files.gguf_types import AUTO
from lqmf.model_files.tensor_types import KINDS
from lqmf.quantization.promise import Backend
from lqmf.records import Candidate, Choice, ModelInfo, ModelRef, QuantizationPlan, QuantType, Source
from lqmf.units import memory_size

if TYPE_CHECKING:
    from lqmf.planning.request import PlanRequest

LET_GO = "what you said does not fit"
WIDER = 1.05  # times a type's own bits a weight: what takes more holds other types
_LONG_BLOCK = 256  # weights in a block of the K- and most IQ-types


def misfit(least: Candidate, machine: Machine) -> str:
    """Say why even the least memory for the wish does not fit."""
    memory = least.memory
    if memory.gpu > machine.gpu_bytes and memory.gpu:
        there = f"{memory_size(memory.gpu)} on the GPU; there are {machine.gpu_reason}"
    else:
        there = f"{memory_size(memory.ram)}; there are {machine.ram_reason}"
    return f"{least.type} with {least.run.context} tokens of context needs {there}."


def type(request: PlanRequest, solution: Solution) -> tuple[str, Source]:
    """Return the reason for the plan's type, and the source of the choice."""
    if request.said.fit == "type":
        return LET_GO, whose(request, "type")
    if "bits" in request.advised:
        return "you named bits and a type that disagree; the type is the more exact", "rules"
    if request.takes("type"):
        return solution.why[0] if solution.why else "advised", "provider"
    if request.said.type and "type" not in request.advised:
        return "your answer" if request.asked & {"type", "bits"} else "as you said", "user"
    return solution.why[0] if solution.recommended else "the one that needs least", "rules"


def context(request: PlanRequest, chosen: Candidate) -> str:
    """Return the reason for the length of the context."""
    limit, said = request.info.context_length, request.said.context
    if request.said.fit == "context":
        return LET_GO
    if said and limit and said > limit:
        return f"you said {said:,}, but the model was trained for {limit:,} tokens"
    if said:
        return "as you said"
    if request.takes("context"):
        return _with_type(request)
    trained = f"the model was trained for {limit:,}" if limit else "what it was trained for is not known"
    return trained if chosen.run.context == limit else f"costs little; {trained}"


def cache(request: PlanRequest, chosen: Candidate) -> str:
    """Return the reason for the type of the cache."""
    if request.said.fit == "kv_type":
        return LET_GO
    if request.said.kv_type:
        return "as you said"
    if request.takes("kv_type"):
        return _with_type(request)
    if chosen.run.cache == "f16":
        return "no loss"
    if request.said.priority == "size":
        return "a smaller cache takes less memory"
    return "a smaller cache makes room for better weights or more context"


def priority(request: PlanRequest) -> tuple[Choice, ...]:
    """Return the choice of the priority where a provider advised it; a priority that the user said shows in the
    type."""
    if not request.takes("priority"):
        return ()
    return (Choice("priority", request.provided["priority"], "as your words suggest", "provider"),)


def of(request: PlanRequest, solution: Solution) -> str:
    """Return the reasons for the recommended answer, with the provider's name where the advice comes from a
    provider."""
    told = " ".join(solution.why)
    return f"{request.advice.provider}: {told}" if request.advice and request.follows and told else told


def _with_type(request: PlanRequest) -> str:
    return "goes with the type" if request.takes("type") else "as your words suggest"


def parameters_of(request: PlanRequest, backend: Backend, plan: QuantizationPlan) -> list[Choice]:
    """Return the method's own settings as choices, each with its purpose."""
    said, fitted = request.said.parameters or {}, request.fit.needs[backend.name].settings

    def why(name: str) -> str:
        usual = backend.parameters[name].default
        instead = f"what fits this model, for {usual}: " if name in fitted and name not in said else ""
        return f"{instead}{backend.parameters[name].summary}"

    return [
        Choice(name, _shown(value), why(name), "user" if name in said else "rules")
        for name, value in plan.parameters.items()
    ]


def _shown(value: Any) -> Any:
    return (", ".join(value) or "none") if isinstance(value, tuple | list) else value


def fallback(fallback: bool, device: str) -> str:
    """Say what becomes of a job whose GPU is full."""
    if device == "cpu":
        return "it runs on the CPU anyway"
    return "tried again on the CPU if the GPU runs out of memory" if fallback else "a full GPU ends the job"


def test(test: str) -> str:
    """Say what a test of that depth measures. Raises KeyError for an unknown depth."""
    return {
        "none": "no receipt will be made",
        "quick": "speed, memory and loss, in at most two minutes or a fifth of the job's time",
        "comprehensive": "every window of the evaluation text",
    }[test]


def display(ref: ModelRef) -> str:
    """Return the model's name as users know it: the id, and the revision where there is one."""
    return f"{ref.id}@{ref.revision}" if ref.revision else ref.id


def stand_ins(kind: QuantType, types: Mapping[str, QuantType], needs: Needs) -> str:
    """Say what llama.cpp puts where the blocks of `kind` do not fit the model's rows, and which of `types` fit them;
    "" where they fit."""
    weights, half = needs.weights.get(kind.name), needs.weights.get("F16")
    if kind.name == AUTO or weights is None or half is None or not sum(half.layers):
        return ""
    others = _narrow(weights)
    if not others or 16 * sum(weights.layers) <= WIDER * kind.bits_per_weight * sum(half.layers):
        return ""
    fitting = [name for name in needs.weights if types[name].general and KINDS.get(name.lower()) in _NARROW]
    fit = f"; the blocks of {_listed(fitting)} fit" if fitting else ""
    return (
        f"{kind.name} takes {mix.bits_per_weight(needs, weights.file_bytes):.1f} bits a weight here, not "
        f"{kind.bits_per_weight:.1f}: rows that blocks of {_LONG_BLOCK} do not divide are stored as {_listed(others)}"
        f"{fit}"
    )


_NARROW = frozenset(one for one in KINDS.values() if 1 < one.block < _LONG_BLOCK)


def _narrow(weights: Weights) -> list[str]:
    """Return the types of short blocks in a file, the largest part first."""
    read = sorted(weights.read, key=lambda name: -weights.read[name])
    return [name.upper() for name in read if KINDS.get(name.lower()) in _NARROW]


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def parameters(info: ModelInfo) -> str:
    """Return the number of parameters in words, to stand before the architecture; "" where the number is unknown."""
    if not info.parameters:
        return ""
    millions = info.parameters / 1e6
    return f"{millions / 1000:.1f} billion parameters, " if millions >= 1000 else f"{millions:.1f} million parameters, "


def whose(request: PlanRequest, name: str) -> Source:
    """Return who chose the value of a slot: the user, a provider's advice, or the rules, whose recommendation was
    taken."""
    if request.takes(name):
        return "provider"
    gave_way = request.said.fit == ("type" if name == "bits" else name)
    advised = name in request.advised or (gave_way and "fit" in request.advised)
    return "user" if getattr(request.said, name) is not None and not advised else "rules"
