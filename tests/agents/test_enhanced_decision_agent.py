"""The agent keeps the dialogue: what was made, what was asked, what "it" is."""

from __future__ import annotations

from lqmf.agents.enhanced_decision_agent import EnhancedDecisionAgent
from lqmf.records import Utterance


def say(agent: EnhancedDecisionAgent, text: str) -> tuple[str, dict[str, object]]:
    decision = agent.decide(Utterance(text))
    return decision.intent, dict(decision.slots)


def test_it_is_the_artifact_that_was_reported() -> None:
    agent = EnhancedDecisionAgent()
    say(agent, "make a 4-bit gguf of gpt2")
    agent.note_artifact("gpt2_gguf_4bit_Q4_K_M")
    assert say(agent, "test it") == ("test", {"name": "gpt2_gguf_4bit_Q4_K_M"})
    assert say(agent, "delete it") == ("delete", {"name": "gpt2_gguf_4bit_Q4_K_M"})


def test_a_line_that_was_heard_counts_as_one_that_was_decided_here() -> None:
    """A typed command is read only when a later line needs it, in the order of what was noted meanwhile."""
    decided, heard = EnhancedDecisionAgent(), EnhancedDecisionAgent()
    say(decided, "quantize gpt2 to 4 bits with gguf")
    heard.hear(Utterance("quantize gpt2 to 4 bits with gguf"))
    for agent in (decided, heard):
        agent.note_artifact("gpt2_gguf_4bit_Q4_K_M")
    assert heard.lines == decided.lines
    assert heard.state == decided.state
    assert say(heard, "now the same in 8 bit") == say(decided, "now the same in 8 bit")


def test_the_last_one_is_the_artifact_made_before() -> None:
    agent = EnhancedDecisionAgent()
    say(agent, "make a 4-bit gguf of gpt2")
    agent.note_artifact("gpt2_gguf_4bit_Q4_K_M")
    say(agent, "now the same in 5-bit")
    agent.note_artifact("gpt2_gguf_5bit_Q5_K_M")
    assert say(agent, "compare it with the last one") == (
        "compare",
        {"names": ["gpt2_gguf_5bit_Q5_K_M", "gpt2_gguf_4bit_Q4_K_M"]},
    )


def test_the_request_can_still_be_changed_after_its_artifact_was_made() -> None:
    agent = EnhancedDecisionAgent()
    say(agent, "quantize gpt2 to 4 bits with bnb")
    agent.note_artifact("gpt2_bnb_4bit")
    assert say(agent, "now the same in 8 bit") == ("quantize", {"model": "gpt2", "bits": 8, "method": "bnb"})


def test_a_reset_forgets_the_dialogue() -> None:
    agent = EnhancedDecisionAgent()
    say(agent, "quantize gpt2 to 4 bits")
    agent.reset()
    assert say(agent, "yes") == ("unknown", {})


def test_every_decision_says_which_rule_read_it() -> None:
    decision = EnhancedDecisionAgent().decide(Utterance("quantize gpt2 to Q4_K_M"))
    assert "quantize" in decision.reason
    assert "Q4_K_M" in decision.reason
