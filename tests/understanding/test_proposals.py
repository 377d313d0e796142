"""A proposed reading is checked by the rules: what the line does not say is dropped, and the user's words win."""

import pytest

from lqmf.records import Decision
from lqmf.understanding.dialogue import parse_dialogue
from lqmf.understanding.lexicon import INTENTS
from lqmf.understanding.proposals import HARMLESS, MEANINGS, checked, confirmation, is_open

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
