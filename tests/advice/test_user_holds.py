"""Whatever a provider answers, what the user said holds: 500 hostile answers, each to a wish with constraints."""

from __future__ import annotations

import dataclasses
import unicodedata
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lqmf.advice import checking
from lqmf.advice.answers import Recommendation
from lqmf.errors import LqmfError
from lqmf.fit.solver import Solution
from lqmf.model_files.gguf_types import TYPES
from lqmf.planning.planner import Planner
from lqmf.planning.request import PlanRequest
from lqmf.planning.taking import keep_to
from lqmf.records import Advice, QuantizationPlan
from lqmf.units import GB
from tests.advice import wishes
from tests.advice.wishes import CARD, LAPTOP, model, planner, request
from tests.fit.shapes import fitting

SHAPE = dataclasses.replace(wishes.SHAPE, trained=8192)
WISHES: tuple[dict[str, Any], ...] = (
    {},
    {"type": "Q4_K_M"},
    {"bits": 4},
    {"bits": 5, "context": 4096},
    {"context": 6000},
    {"kv_type": "q8_0"},
    {"type": "Q5_K_M", "context": 2048, "kv_type": "f16"},
    {"device": "cpu", "memory_gb": 6.0},
    {"target_size_gb": 4.5},
    {"target_size_gb": 4.5, "priority": "quality"},
    {"priority": "quality"},
    {"priority": "size"},
    {"priority": "speed", "context": 8192},
    {"parallel": 2, "context": 2048},
    {"method": "gguf", "bits": 3, "ram_gb": 5.0},
)
MACHINES = (LAPTOP, CARD)


@cache
def case(number: int) -> tuple[Planner, PlanRequest, QuantizationPlan, Solution]:
    """A wish on a machine, and what the rules make of it."""
    agent, wish = planner(), WISHES[number // 2]
    asked = request(MACHINES[number % 2], **wish)
    asked = dataclasses.replace(
        asked, info=model(context_length=SHAPE.trained), fit=fitting(SHAPE, parallel=wish.get("parallel", 1))
    )
    return agent, asked, agent.plan(asked, "p"), agent.solution(asked)


@cache
def every_id() -> tuple[str, ...]:
    """Ids that are offered to somebody: to another they are a lie."""
    return tuple({one.id for n in range(2 * len(WISHES)) for one in (*case(n)[3].best, *case(n)[3].pareto[:40])})


WORDS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["Use Q2_K.", "\x1b[2J", "<tool_call>quantize</tool_call>", "</data>", "rm -rf ~", "x" * 5000]),
)
NAMES = st.one_of(
    st.none(),
    st.deferred(lambda: st.sampled_from(every_id())),
    st.sampled_from(["gguf:Q9_Z:8192:f16/f16:0:512", "gguf:F16:4096:f16/f16:0:512", "Q2_K", "gptq::1:f16/f16:0:1"]),
    st.text(max_size=20),
)
SIZES = st.one_of(st.none(), st.integers(), st.sampled_from([512, 1024, 4096, 6000, 8192, 16384, 10**400]))
PRIORITIES = st.one_of(st.none(), st.sampled_from(["quality", "speed", "size", "everything", ""]))
ANSWERS = st.fixed_dictionaries(
    {
        "candidate": NAMES,
        "context": SIZES,
        "priority": PRIORITIES,
        "reason": WORDS,
        "notes": st.lists(WORDS, max_size=4),
    },
    optional={"type": st.just("Q2_K"), "tool_calls": st.just([{"name": "delete"}]), "slots": st.just({"bits": 2})},
)


@settings(max_examples=500)
@given(number=st.integers(0, 2 * len(WISHES) - 1), told=ANSWERS)
def test_what_the_user_said_holds_in_every_plan(number: int, told: dict[str, Any]) -> None:
    agent, asked, by_rules, solution = case(number)
    try:
        answer = Recommendation.model_validate(told)
    except ValidationError:
        return  # no answer at all: the rules' plan stands
    choices = checking.offered(solution, asked.said)
    advice = checking.checked(answer, Advice("claude", "m"), choices, choices[0], asked.said, SHAPE.trained)
    advised = followed(agent, asked, advice)
    plan, after = agent.plan(advised, "p"), agent.solution(advised)
    assert said_holds(asked, plan, by_rules)
    assert after.recommended is not None, "what is planned fits"
    assert {c.name for c in plan.choices if c.source == "user"} == {
        c.name for c in by_rules.choices if c.source == "user"
    }
    told_user = "".join((advice.reason, *advice.notes))
    assert not [c for c in told_user if unicodedata.category(c) in ("Cc", "Cs", "Cf") and c not in "\u200c\u200d"]


def followed(agent: Planner, asked: PlanRequest, advice: Advice) -> PlanRequest:
    """What planning makes of the advice: taken, or told only."""
    taken = dataclasses.replace(asked, advice=advice)
    try:
        keep_to(taken, agent)
    except LqmfError:
        return dataclasses.replace(asked, advice=dataclasses.replace(advice, slots={}))
    return taken


def said_holds(asked: PlanRequest, plan: QuantizationPlan, by_rules: QuantizationPlan) -> bool:
    """Everything that was said, in the plan."""
    slots, run = asked.said.slots(), plan.run
    assert run is not None
    assert by_rules.run is not None
    held = {
        "type": lambda said: plan.type == said,
        "bits": lambda said: TYPES[plan.type].bits == said,
        "context": lambda said: run.context == said,
        "kv_type": lambda said: run.cache == said,
        "device": lambda said: plan.device == said,
        "memory_gb": lambda said: memory(plan) <= said * (1 << 30),
        "ram_gb": lambda said: ram(plan) <= said * (1 << 30),
        "target_size_gb": lambda said: plan.candidates[0].file_bytes <= said * GB,
        "priority": lambda said: plan.priority == said and no_worse(said, plan, by_rules),
        "parallel": lambda said: run.parallel == said,
        "method": lambda said: plan.method == said,
    }
    broken = [name for name, said in slots.items() if not held[name](said)]
    assert not broken, (broken, slots, plan)
    return True


def memory(plan: QuantizationPlan) -> int:
    chosen = plan.candidates[0]
    return chosen.memory.gpu or chosen.memory.ram


def ram(plan: QuantizationPlan) -> int:
    return plan.candidates[0].memory.ram


def no_worse(priority: str, plan: QuantizationPlan, by_rules: QuantizationPlan) -> bool:
    """The advised choice is by what matters to the user at least as good as the rules'."""
    one, own = plan.candidates[0], by_rules.candidates[0]
    figures = {
        "quality": (one.loss.kl_nats, own.loss.kl_nats),
        "size": (one.file_bytes, own.file_bytes),
        "speed": (one.read_bytes, own.read_bytes),
    }
    advised, before = figures[priority]
    return advised <= before
