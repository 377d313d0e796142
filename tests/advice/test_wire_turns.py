"""A plan with each real SDK against a far end that misbehaves: the turn ends in time, with the rules' plan, and says
why once, shortly. And with one that behaves, the advice is in the plan."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lqmf.cli.render import Screen, clean
from lqmf.cli.session import Session
from lqmf.operations import plan
from lqmf.operations.plan import Plans
from lqmf.records import Decision, to_json
from lqmf.workspace import write_json
from tests.advice import wishes
from tests.advice.places import notices, place
from tests.advice.script import answer
from tests.advice.test_turns import Watching, drawn
from tests.kinds import by_kind
from tests.providers.places import KEYS, WIRED, options
from tests.providers.wire import Behaviour, Server, says, serving

pytestmark = pytest.mark.slow
SHAPE = dataclasses.replace(wishes.SHAPE, trained=2048)
WAIT_S = 0.6
LATEST_S = WAIT_S + 4.0  # with the planner's own work, on a busy machine
NOT_OFFERED = "gguf:Q9_Z:2048:f16/f16:0:512"
FAULTS = {
    "401": Behaviour(status=401),
    "403": Behaviour(status=403),
    "429": Behaviour(status=429),
    "429 with Retry-After": Behaviour(status=429, headers={"Retry-After": "60"}),
    "500": Behaviour(status=500),
    "529": Behaviour(status=529),
    "slow first byte": says(answer(), first_byte_s=30.0),
    "stalled": says(answer(), stall_after=10),
    "cut": says(answer(), cut_after=10),
    "invalid JSON": says("{'candidate': no"),
    "another schema": says({"plan": "Q4_K_M"}),
    "refusal": says({}, end="refusal"),
    "empty": says(""),
    "tool call": says(answer(context=1024), end="tool"),
    "contradicts the user": says(answer(context=512)),
    "not offered": says(answer(candidate=NOT_OFFERED)),
}


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """The SDKs are here before time is measured: what their import takes is no fault of the far end's."""
    for sdk in ("anthropic", "openai", "google.genai"):
        importlib.import_module(sdk)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def planned(root: Path, settings: dict[str, Any]) -> tuple[Plans, str, list[str]]:
    """The outcome, all that is read on the screen, and what was told in passing."""
    app = place(root, settings, wishes.LAPTOP, SHAPE)
    heard, ask = notices(app), Watching()
    outcome = asyncio.run(plan.run(app, Decision("plan", {"model": "ada/seven", "context": 1024}).request, ask))
    app.close()
    return outcome, drawn(*ask.shown, outcome), heard


def bare(outcome: Plans) -> Any:
    plan = outcome.document["plan"]
    return to_json({**plan, "id": "", "estimate": {**plan["estimate"], "load": None}})  # what else runs varies


@pytest.fixture(scope="module")
def by_rules(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return bare(planned(tmp_path_factory.mktemp("alone"), {})[0])


def settings(server: Server, name: str) -> dict[str, Any]:
    return options(server, name, llm_wait_s=WAIT_S, max_retries=1)


WITH_EACH = [(name, fault) for name in WIRED for fault in FAULTS]
IN_TURN = {(WIRED[place % len(WIRED)], fault) for place, fault in enumerate(FAULTS)}
STANDING = {*IN_TURN, *((name, fault) for name in WIRED for fault in ("401", "slow first byte", "another schema"))}


# what each SDK makes of each fault is shown in tests/providers/test_faults.py: here each fault is met once, and by each
# SDK a refusal, a silence and an answer that is none
@pytest.mark.parametrize(("name", "fault"), by_kind(WITH_EACH, STANDING))
def test_a_fault_ends_in_time_with_the_rules_plan_and_one_short_reason(name, fault, server, by_rules, tmp_path):
    server.script = [FAULTS[fault]]
    started = time.monotonic()
    outcome, screen, heard = planned(tmp_path, settings(server, name))
    assert time.monotonic() - started < LATEST_S
    assert server.asked, "the far end was asked"
    assert bare(outcome) == by_rules
    reasons = [text for text in heard if text.startswith("No advice")]
    left_out = " ".join(screen.split()).count("answer was left out")
    assert len(reasons) + left_out == 1, (heard, screen)
    assert all(len(text) < 200 for text in heard)
    assert KEYS[name] not in screen + " ".join(heard) + json.dumps(outcome.document)


@pytest.mark.parametrize("name", WIRED)
def test_escape_codes_reach_neither_the_screen_nor_the_plan(name, server, tmp_path):
    server.script = [says(answer(reason="Fine \x1b[2J\x1b]0;owned\x07 indeed.", notes=["\x9b31m red"]))]
    outcome, screen, _ = planned(tmp_path, settings(server, name))
    assert clean(screen) == screen
    assert "\\u001b" not in json.dumps(outcome.document)
    assert outcome.document["plan"]["type"] == "Q4_K_M"


@pytest.mark.parametrize("name", WIRED)
def test_advice_that_stands_is_in_the_plan_and_in_the_prompt_is_no_key(name, server, tmp_path):
    server.script = [says(answer(priority="quality"))]
    outcome, screen, heard = planned(tmp_path, {**settings(server, name), "llm_wait_s": 20})
    assert heard == []
    assert outcome.document["advice"]["slots"] == {"priority": "quality"}
    assert outcome.document["plan"]["type"] == "Q8_0"
    assert f"{name} advises priority quality: Novels are long." in " ".join(screen.split())
    [asked] = server.asked
    assert KEYS[name] not in json.dumps(asked["body"])


def test_switching_takes_effect_in_the_running_chat(server, tmp_path, monkeypatch, capsys):
    server.script = [says(answer(priority="quality"))]
    write_json(tmp_path / "config.json", {"local_base_url": server.url("local"), "llm_wait_s": 20})
    monkeypatch.setattr("lqmf.cli.session.make_app", lambda options, screen: place(tmp_path, {}, wishes.LAPTOP, SHAPE))
    session = Session(Screen(color=False), {})

    def said(line: str) -> str:
        assert not asyncio.run(session.line(line)).failed
        return capsys.readouterr().out

    assert "local" not in said("plan ada/seven")
    said("llm switch local")
    assert "local advises priority quality" in said("plan ada/seven")
    assert len(server.asked) == 1
    said("llm switch none")
    assert "local" not in said("plan ada/seven")
    assert len(server.asked) == 1
    session.close()
