"""A proposed reading is checked by the rules: what the line does not say is dropped, and the user's words win."""

import shlex
from dataclasses import replace
from typing import Any

import pytest

from lqmf.cli import tree
from lqmf.operations import next_step
from lqmf.quantization.registry import backends
from lqmf.records import Decision
from lqmf.understanding.dialogue import Dialogue, parse_dialogue, step, with_artifact
from lqmf.understanding.lexicon import INTENTS
from lqmf.understanding.proposals import (
    DECLINED,
    HARMLESS,
    MEANINGS,
    checked,
    confirmation,
    is_open,
    next_request,
    request_of,
)
from tests.planning.test_methods import plan

OPEN = Decision("unknown", {}, 0.0, "no rule reads this")
LINE = "tinker the gizmo of foo/bar down until 6GB swallow it, gptq style, 4 wide"


def test_what_the_line_says_itself_stands_and_the_rules_values_win():
    proposed = {"intent": "quantize", "model": "foo/other", "method": "gguf", "bits": 4, "memory_gb": 6.0}
    decision, _ = checked(LINE, OPEN, proposed, "claude")
    assert decision is not None
    assert decision.slots["model"] == "foo/bar"
    assert decision.slots["method"] == "gptq"
    assert (decision.slots["bits"], decision.slots["memory_gb"]) == (4, 6)


@pytest.mark.parametrize(
    "guess",
    [{"bits": 3}, {"memory_gb": 8.0}, {"type": "Q2_K"}, {"context": 8192}, {"provider": "openai"}, {"model": "evil/x"}],
)
def test_a_value_that_the_line_does_not_say_is_dropped(guess):
    decision, dropped = checked("please fiddle with the thingy", OPEN, {"intent": "quantize", **guess}, "claude")
    assert decision is not None
    assert not decision.slots
    assert len(dropped) == 1


def test_an_intent_that_may_not_be_proposed_is_no_reading():
    for intent in ("exit", "cancel", "hf_login", "hf_logout", "format_disk"):
        assert checked("do the thing now", OPEN, {"intent": intent}, "claude")[0] is None
    assert checked("do the thing now", OPEN, {"intent": "unknown"}, "claude") == (None, ())


def test_a_reading_of_the_rules_is_never_replaced():
    read = parse_dialogue(["list my models"])[0]
    decision, dropped = checked("list my models", read, {"intent": "delete"}, "claude")
    assert decision is None
    assert "list" in dropped[0]
    assert not is_open("list my models", read)


def test_only_lines_that_say_something_are_read_with_help():
    assert is_open("wibble the wobble", OPEN)
    for line in ("", "??", "asdf", "12 34"):
        assert not is_open(line, OPEN)


def test_all_that_changes_something_is_asked_about():
    for intent in MEANINGS:
        question = confirmation(Decision(intent, {}, 0.6, "read so by claude"))
        assert (question is None) == (intent in HARMLESS)
        assert question is None or (question.kind, question.default) == ("confirm", False)
    assert not {"quantize", "delete", "finetune", "serve", "config", "llm_switch"} & HARMLESS


def test_every_meaning_is_an_intent():
    assert set(MEANINGS) <= set(INTENTS)


# ---------------------------------------------------------------- what is said to what a job proposed

BETTER = Decision("quantize", {"model": "demo", "type": "Q5_K_M"}, 1.0, "a yes to what was proposed")


def said_to_a_proposal(line: str, proposed: Decision | None = BETTER) -> Decision:
    state, _ = step(Dialogue(), "quantize demo to Q4_K_M")
    state = with_artifact(state, "demo_gguf_4bit_Q4_K_M")
    return step(replace(state, proposed=proposed), line)[1]


@pytest.mark.parametrize(
    "line", ["go for it", "start", "run it", "do it", "yes, start it", "sounds good", "just do it"]
)
def test_whatever_begins_it_is_a_yes_to_what_was_proposed(line: str) -> None:
    assert said_to_a_proposal(line) == BETTER


@pytest.mark.parametrize("line", ["good", "great", "perfect", "ok thanks", "y, delete"])
def test_a_remark_is_neither_a_yes_to_it_nor_to_the_request_before(line: str) -> None:
    assert said_to_a_proposal(line).intent == "unknown"


@pytest.mark.parametrize(
    ("line", "intent"),
    [
        ("ok, delete it", "delete"),
        ("yes delete it", "delete"),
        ("yes, remove it", "delete"),
        ("quit", "exit"),
        ("exit", "exit"),
        ("ok, test it", "test"),
    ],
)
def test_a_line_that_asks_for_something_is_read_as_if_nothing_were_proposed(line: str, intent: str) -> None:
    assert said_to_a_proposal(line) == said_to_a_proposal(line, None)
    assert said_to_a_proposal(line).intent == intent


@pytest.mark.parametrize("line", ["no", "no, delete it", "stop", "never mind"])
def test_a_no_comes_before_all_else(line: str) -> None:
    assert said_to_a_proposal(line) == DECLINED


# ---------------------------------------------------------------- parameters of what is proposed


@pytest.mark.parametrize(
    ("method", "made", "changes", "kept"),
    [
        ("bnb", {}, {"type": "int8"}, {}),
        ("bnb", {"parameters": {"double_quant": "false", "skip": "a,b"}}, {"type": "int8"}, {"skip": "a,b"}),
        ("bnb", {"parameters": {"double_quant": "no"}}, {"type": "fp4"}, {"double_quant": "false"}),
        ("gptq", {"parameters": {"desc_act": "yes"}}, {"bits": 8, "type": None}, {"desc_act": "true"}),
    ],
)
def test_what_is_proposed_has_only_parameters_that_its_type_takes(
    method: str, made: dict[str, Any], changes: dict[str, Any], kept: dict[str, str]
) -> None:
    known = backends()[method].parameters
    decision = next_request(request_of(plan(method, **made), known), {"bits": None, **changes}, known)
    assert decision.slots.get("parameters", {}) == kept
    read = tree.read(shlex.split(next_step.command(decision))).decision
    slots = dict(read.slots)
    assert slots == decision.slots
    planned = plan(method, **{name: slots[name] for name in ("type", "bits", "parameters") if name in slots})
    assert planned.type == (changes["type"] or "")
    again = request_of(planned, known)
    assert (again["parameters"] or {}) == kept


def test_what_the_user_set_for_the_old_type_alone_is_left_out_too() -> None:
    request = {"model": "demo", "method": "bnb", "type": "nf4", "parameters": {"double_quant": "true", "skip": "a"}}
    known = backends()["bnb"].parameters
    assert next_request(request, {"type": "int8"}, known).slots["parameters"] == {"skip": "a"}
