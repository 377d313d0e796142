"""The adviser waits so long and no longer, asks once, and whatever fails is told once and changes nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from lqmf.advice import checking
from lqmf.advice.adviser import Adviser, most_parameters
from lqmf.errors import GatedModel, KeyRefused, ModelNotFound, Offline, UnsafeFormat
from lqmf.events import Event, Notice
from lqmf.fit.classes import CLASSES
from lqmf.hub.auth import redact
from lqmf.providers.scripted import Scripted
from lqmf.records import Advice, ModelInfo, ModelRef, Request, Suggestion
from tests.advice.script import answer, scripted
from tests.advice.wishes import LAPTOP, model, planner, request
from tests.providers.test_masking import KEYS

HUB: dict[str, Any] = {
    "ada/good": {"parameters": 1_500_000_000, "license": "apache-2.0"},
    "ada/gated": {"access": "gated"},
    "ada/closed": GatedModel("Closed."),
    "ada/large": {"parameters": 70_000_000_000},
    "ada/pickled": {"weights_format": "pickle"},
    "ada/unsafe": UnsafeFormat("Unsafe."),
    "ada/away": Offline("No network."),
}


async def look(id: str) -> ModelInfo:
    told = HUB.get(id, ModelNotFound("There is none."))
    if isinstance(told, Exception):
        raise told
    return model(ModelRef("hub", id), **told)


def adviser(*told: Any, wait: float = 5.0, events: list[Event] | None = None) -> tuple[Adviser, Scripted]:
    calls, provider = scripted(*told)
    emit = (events if events is not None else []).append
    return Adviser(calls, wait_seconds=wait, redact=redact, emit=emit, history=list, look=look), provider


def advise(made: Adviser, **slots: Any) -> Advice | None:
    one, agent = request(**slots), planner()
    return asyncio.run(made.on_plan(one, agent.plan(one, "p"), agent.solution(one), ("a plan for long texts",)))


def test_an_answer_is_checked_and_names_who_gave_it():
    made, provider = adviser(answer(context=16384))
    advice = advise(made)
    assert (advice.provider, advice.model, advice.slots) == ("scripted", "script", {"context": 16384})
    [(told, asked)] = provider.asked
    assert (told.role, asked.role) == ("system", "user")
    assert "a plan for long texts" in asked.content


def test_nobody_is_asked_where_there_is_nothing_to_choose_between():
    settled = {"type": "Q4_K_M", "context": 4096, "kv_type": "f16"}
    assert len(checking.offered(planner().solution(request(**settled)), Request.of(settled))) == 1
    made, provider = adviser()
    assert advise(made, **settled) is None
    assert provider.asked == []


def test_a_silent_provider_is_waited_for_so_long_and_no_longer():
    events: list[Event] = []
    made, _ = adviser(60.0, wait=0.2, events=events)
    started = time.monotonic()
    assert advise(made) is None
    assert time.monotonic() - started < 5
    assert ["in time" in e.text for e in events if isinstance(e, Notice)] == [True]


@pytest.mark.parametrize(
    "told",
    [KeyRefused("The key was refused (401)."), "no JSON", '{"wrong": "schema"}', "", answer(tool_calls=[{}]),
     answer(context="8192"), answer(notes=None)],
)  # fmt: skip
def test_a_failure_gives_no_advice_and_is_told_once_in_a_chat(told):
    events: list[Event] = []
    made, provider = adviser(told, told, events=events)
    assert [advise(made) for _ in range(2)] == [None] * 2
    assert len(provider.asked) >= 1
    [notice] = [e for e in events if isinstance(e, Notice)]
    assert len(notice.text) < 160
    assert "rules" in notice.text


def test_what_a_provider_says_keeps_no_key():
    key = KEYS["claude"]
    made, _ = adviser(answer(reason=f"Use {key}.", notes=[key]))
    advice = advise(made)
    assert key not in repr(advice)
    assert advice.reason.startswith("Use ")


def named(*ids: str) -> dict[str, Any]:
    return {"models": [{"id": id, "reason": "It speaks French."} for id in ids]}


def suggest(*ids: str) -> tuple[Suggestion, ...]:
    made, _ = adviser(named(*ids))
    sizes = {size: planner().solution(request()) for size in CLASSES[:4]}
    return asyncio.run(made.on_models(Request(), LAPTOP, sizes, ("French homework",)))


def test_a_named_model_is_looked_up_and_told_with_what_the_hub_says():
    assert suggest("ada/good") == (
        Suggestion("ada/good", "It speaks French.", "verified", 1_500_000_000, "apache-2.0"),
    )


@pytest.mark.parametrize(("id", "state"), [("ada/gated", "gated"), ("ada/closed", "gated"), ("ada/away", "unverified")])
def test_what_is_behind_a_licence_or_could_not_be_asked_is_said_to_be(id, state):
    [one] = suggest(id)
    assert one.state == state


@pytest.mark.parametrize("id", ["ada/none", "ada/large", "ada/pickled", "ada/unsafe", "ada/x-GGUF"])
def test_what_is_not_there_or_cannot_be_used_here_is_not_named(id):
    assert suggest(id) == ()


def test_a_size_that_fits_bounds_what_is_named():
    fits, none = planner().solution(request()), planner().solution(request(ram_gb=0.6, context=4096, type="Q8_0"))
    assert none.recommended is None
    assert most_parameters({CLASSES[3]: fits, CLASSES[7]: none}) == pytest.approx(8e9 * 1.35)
    assert most_parameters({CLASSES[7]: none}) == float("inf")
