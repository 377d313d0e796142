"""Why each field of a plan has its value, and whose choice it was: words for what the PlannerAgent decided.

Pure; decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.quantization.base import Backend
from lqmf.records import Candidate, ModelInfo, ModelRef, Source
from lqmf.units import memory_size
from lqmf.utils.memory_optimizer import Machine, Solution

if TYPE_CHECKING:
    from lqmf.agents.planner_agent import Request

LET_GO = "what you said does not fit"


def misfit(least: Candidate, machine: Machine) -> str:
    """Why even the least of what was wished does not fit."""
    memory = least.memory
    if memory.gpu > machine.gpu_bytes and memory.gpu:
        there = f"{memory_size(memory.gpu)} on the GPU; there are {machine.gpu_reason}"
    else:
        there = f"{memory_size(memory.ram)}; there are {machine.ram_reason}"
    return f"{least.type} with {least.run.context} tokens of context needs {there}."


def method(request: Request, backend: Backend) -> tuple[str, Source]:
    """Why this method."""
    if request.slots.get("method"):
        return "as you said", "user"
    if request.slots.get("type") and "type" not in request.asked:
        return f"{request.slots['type']} is a {backend.title} type", "rules"
    return f"{backend.title} runs on every machine, with or without a GPU", "rules"


def type(request: Request, solution: Solution) -> tuple[str, Source]:
    """Why this type."""
    if request.slots.get("fit") == "type":
        return LET_GO, whose(request, "type")
    if "bits" in request.advised:
        return "you named bits and a type that disagree; the type is the more exact", "rules"
    if request.slots.get("type") and "type" not in request.advised:
        return "your answer" if request.asked & {"type", "bits"} else "as you said", "user"
    return solution.why[0] if solution.recommended else "the one that needs least", "rules"


def context(request: Request, chosen: Candidate) -> str:
    """Why so much context."""
    limit, said = request.info.context_length, request.slots.get("context")
    if request.slots.get("fit") == "context":
        return LET_GO
    if said and limit and said > limit:
        return f"you said {said:,}, but the model was trained for {limit:,} tokens"
    if said:
        return "as you said"
    trained = f"the model was trained for {limit:,}" if limit else "what it was trained for is not known"
    return trained if chosen.run.context == limit else f"costs little; {trained}"


def cache(request: Request, chosen: Candidate) -> str:
    """Why the cache has this type."""
    if request.slots.get("fit") == "kv_type":
        return LET_GO
    if request.slots.get("kv_type"):
        return "as you said"
    if chosen.run.cache == "f16":
        return "no loss"
    if request.slots.get("priority") == "size":
        return "a smaller cache takes less memory"
    return "a smaller cache makes room for better weights or more context"


def fallback(fallback: bool, device: str) -> str:
    """What becomes of a job whose GPU is full."""
    if device == "cpu":
        return "it runs on the CPU anyway"
    return "tried again on the CPU if the GPU runs out of memory" if fallback else "a full GPU ends the job"


def test(test: str) -> str:
    """What each depth of a test measures."""
    return {
        "none": "no receipt will be made",
        "quick": "speed, memory and loss, in at most two minutes or a fifth of the job's time",
        "comprehensive": "every window of the evaluation text",
    }[test]


def display(ref: ModelRef) -> str:
    """The model as it is named."""
    return f"{ref.id}@{ref.revision}" if ref.revision else ref.id


def parameters(info: ModelInfo) -> str:
    """How many there are, to stand before the architecture; "" where that is unknown."""
    if not info.parameters:
        return ""
    millions = info.parameters / 1e6
    return f"{millions / 1000:.1f} billion parameters, " if millions >= 1000 else f"{millions:.1f} million parameters, "


def whose(request: Request, name: str) -> Source:
    """Who chose the value of a slot: the user, or the rules, whose advice was taken."""
    gave_way = request.slots.get("fit") == ("type" if name == "bits" else name)
    advised = name in request.advised or (gave_way and "fit" in request.advised)
    return "user" if request.slots.get(name) is not None and not advised else "rules"
