"""Wishes that take the place of earlier ones, and questions of what fits or is needed."""

from __future__ import annotations

import pytest

from lqmf.understanding.dialogue import parse_dialogue

TYPED = "plan mistralai/Mistral-7B-v0.3 in Q5_K_M"


@pytest.mark.parametrize(
    ("line", "priority"),
    [
        ("make it smaller", "size"),
        ("as small as possible", "size"),
        ("better quality please", "quality"),
        ("faster", "speed"),
        ("too big, make it smaller", "size"),
    ],
)
@pytest.mark.parametrize("first", [TYPED, "quantize mistralai/Mistral-7B-v0.3 to 4 bits"])
def test_a_wish_for_more_or_less_leaves_the_type_and_the_bits_open(first: str, line: str, priority: str) -> None:
    before, *after = parse_dialogue([first, line, line])
    wanted = {"model": "mistralai/Mistral-7B-v0.3", "priority": priority}
    assert [(decision.intent, dict(decision.slots)) for decision in after] == [(before.intent, wanted)] * 2


@pytest.mark.parametrize("line", ["ok, Q8_0 then", "use Q8_0"])
def test_a_type_said_later_ends_a_priority(line: str) -> None:
    slots = parse_dialogue(["plan gpt2", "make it smaller", line])[-1].slots
    assert dict(slots) == {"model": "gpt2", "type": "Q8_0"}


@pytest.mark.parametrize(
    "lines",
    [
        ["quantize gpt2 to Q4_K_M as small as possible"],
        ["quantize gpt2 to Q5_K_M", "smaller, in Q4_K_M"],
        ["quantize gpt2 as small as possible", "but it must still be Q4_K_M"],
    ],
)
def test_what_is_said_together_stays_together(lines: list[str]) -> None:
    slots = parse_dialogue(lines)[-1].slots
    assert dict(slots) == {"model": "gpt2", "type": "Q4_K_M", "priority": "size"}


@pytest.mark.parametrize(
    "line",
    [
        "how much vram do I need for google/gemma-2b with 32k context?",
        "what card do I need for google/gemma-2b at 32k context?",
        "how much memory does google/gemma-2b need with 32k context",
        "requirements for running google/gemma-2b with 32k context",
    ],
)
def test_what_a_model_needs_is_a_plan_that_knows_no_memory(line: str) -> None:
    decision = parse_dialogue([line])[0]
    said = {key: value for key, value in decision.slots.items() if key != "device"}
    assert (decision.intent, said) == ("plan", {"model": "google/gemma-2b", "context": 32768})


@pytest.mark.parametrize("line", ["show", "show me", "show it", "please show"])
def test_show_alone_names_nothing(line: str) -> None:
    decision = parse_dialogue([line])[0]
    assert (decision.intent, dict(decision.slots)) == ("show", {})


@pytest.mark.parametrize(
    ("line", "intent"),
    [
        ("google/gemma-2b on 6 GB of vram", "plan"),
        ("google/gemma-2b for 6 GB of vram", "quantize"),
        ("I want google/gemma-2b on 6 GB of vram", "quantize"),
    ],
)
def test_a_model_and_a_machine_without_an_order_are_planned(line: str, intent: str) -> None:
    assert parse_dialogue([line])[0].intent == intent


@pytest.mark.parametrize(
    "words", ["can i run ", "make it even a bit smaller and then ", "is it ok, so so ok, ", "8gb "]
)
def test_words_said_again_and_again_come_to_an_end(words: str) -> None:
    decisions = parse_dialogue(["plan gpt2 for 8gb", words * 300])
    assert len(decisions) == 2
