"""A question never acts, and neither does a no: whatever is asked about or refused, nothing is done."""

from __future__ import annotations

import pytest

from lqmf.understanding.dialogue import ends_a_job, parse_dialogue
from lqmf.understanding.lexicon import INTENTS
from lqmf.understanding.mood import ACTS

# An order for each intent that acts: its verb and the rest.
ORDERS = {
    "quantize": ["quantize gpt2 to 4 bits", "quantize demo", "compress it", "convert gpt2 to gguf", "download gpt2"],
    "test": ["test gpt2_bnb_4bit", "test it", "run the tests", "measure it"],
    "benchmark": ["benchmark it", "benchmark gpt2_bnb_4bit"],
    "delete": ["delete gpt2_bnb_4bit", "delete it", "remove it"],
    "rebuild": ["rebuild gpt2_bnb_4bit"],
    "report": ["make a report"],
    "docs": ["write the model card of it"],
    "chat": ["chat with it"],
    "experiment": ["experiment with gpt2_bnb_4bit"],
    "finetune": ["finetune gpt2"],
    "adapters": ["merge the adapter"],
    "serve": ["serve it", "start the server"],
    "publish": ["publish demo", "upload it to hugging face"],
    "sweep": ["sweep gpt2 over all types"],
    "hf_login": ["log in", "login to hugging face"],
    "hf_logout": ["log out"],
    "llm_switch": ["use claude", "switch to openai"],
    "config": ["set log_level to debug"],
    "demo": ["run the demo"],
    "cancel": ["cancel", "cancel the job", "stop", "undo"],
    "resume": ["resume", "continue the job"],
    "exit": ["exit", "quit"],
    "clear": ["clear the screen"],
}
REFUSED = [
    *(
        "don't {}",
        "do not {}",
        "please don't {}",
        "never {}",
        "I don't want to {}",
        "I'd rather not {}",
        "no need to {}",
    ),
    *("don't {} yet", "you must not {}", "I do not want you to {}", "let's not {}", "wait, don't {}", "no, don't {}"),
    *("don't you dare {}", "I won't {}"),
]
ASKED = [
    *(
        "is it safe to {}",
        "is it safe to {}?",
        "should I {}",
        "should I {}?",
        "what happens if I {}",
        "can I {}?",
        "{}?",
    ),
    *("what happens if I {}?", "could I {}?", "do I have to {}?", "may I {}?", "what would happen if I {}?"),
    *("how do I {}?", "I wonder if I should {}", "is it a good idea to {}?", "why should I {}?", "when should I {}?"),
    *(
        "are you sure I should {}?",
        "would it hurt to {}?",
        "I'm not sure whether to {}",
        "did you {}?",
        "what if I {}?",
    ),
    *("maybe I should {}", "do I need to {}?", "shouldn't I {}?", "will it {}?"),
]
BEFORE: dict[str, list[str]] = {
    "nothing": [],
    "a plan": ["plan gpt2 for 8GB"],
    "a job": ["quantize gpt2 to 4 bits"],
    "a test": ["test gpt2_gguf_4bit_Q4_K_M"],
}


def test_every_intent_that_acts_has_an_order_here() -> None:
    assert set(ORDERS) == ACTS
    assert set(INTENTS) >= ACTS
    for intent, orders in ORDERS.items():
        for order in orders:
            assert parse_dialogue([order])[0].intent == intent, order


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("form", [*REFUSED, *ASKED])
def test_no_order_is_carried_out_that_is_refused_or_asked_about(form: str, before: str) -> None:
    acted = {}
    for order in (order for orders in ORDERS.values() for order in orders):
        decision = parse_dialogue([*BEFORE[before], form.format(order)])[-1]
        no = decision.intent == "cancel" and not ends_a_job(decision) and form in REFUSED
        looks = decision.intent == "config" and "value" not in decision.slots
        no_test = decision.slots.get("test") == "none"  # "don't test it" is a wish of the job before it
        if decision.intent in ACTS and not (no or looks or no_test):
            acted[form.format(order)] = decision
    assert acted == {}


@pytest.mark.parametrize(
    ("line", "intent"),
    [
        ("could you quantize gpt2 to 4 bits?", "quantize"),
        ("would you mind testing gpt2_bnb_4bit?", "test"),
        ("could I get a 4-bit gguf of gpt2?", "quantize"),
        ("don't quantize it, just plan gpt2", "plan"),
        ("I don't need a test, delete gpt2_bnb_4bit", "delete"),
        ("is it any good? test gpt2_bnb_4bit", "test"),
        ("how good is gpt2_bnb_4bit?", "test"),
        ("how fast is gpt2_bnb_4bit?", "benchmark"),
        ("don't use openai, use claude", "llm_switch"),
    ],
)
def test_an_order_in_the_form_of_a_question_and_what_follows_a_no_are_done(line: str, intent: str) -> None:
    assert parse_dialogue([line])[0].intent == intent


@pytest.mark.parametrize(
    ("line", "intent"),
    [
        ("is Q4 good enough?", "explain"),
        ("should I quantize gpt2 to 2 bits?", "plan"),
        ("quantize gpt2 to 4 bits?", "plan"),
        ("is it safe to delete gpt2_bnb_4bit?", "explain"),
        ("redo", "unknown"),
        ("publish demo", "publish"),
    ],
)
def test_a_question_about_a_job_is_planned_and_any_other_explained(line: str, intent: str) -> None:
    assert parse_dialogue([line])[0].intent == intent


@pytest.mark.parametrize(
    ("line", "ends"), [("cancel", True), ("stop the job", True), ("undo", False), ("not now", False)]
)
def test_only_words_of_ending_end_a_job(line: str, ends: bool) -> None:
    decision = parse_dialogue([line])[0]
    assert decision.intent == "cancel"
    assert ends_a_job(decision) is ends
