"""Contradictions are kept and named; the planner asks about them."""

from __future__ import annotations

import pytest

from lqmf.understanding.dialogue import parse_dialogue


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("quantize gpt2 to 8-bit Q4_K_M", "4-bit type"),
        ("quantize gpt2 to nf4 with gguf", "no type of gguf"),
        ("quantize gpt2 to Q4_K_M with gptq", "no type of gptq"),
        ("quantize gpt2 to 5 bits with bitsandbytes", "4 or 8 bits"),
        ("gguf of gpt2 in 4 bit as safetensors", "not safetensors"),
    ],
)
def test_a_contradiction_is_named_in_a_sentence(line: str, words: str) -> None:
    conflicts = parse_dialogue([line])[0].conflicts
    assert any(words in conflict for conflict in conflicts)


def test_both_sides_of_a_contradiction_are_kept() -> None:
    assert {"bits": 8, "type": "Q4_K_M"}.items() <= dict(
        parse_dialogue(["quantize gpt2 to 8-bit Q4_K_M"])[0].slots
    ).items()


@pytest.mark.parametrize("line", ["quantize gpt2 to 4-bit Q4_K_M gguf", "quantize gpt2 with bnb 4 bit nf4", "list"])
def test_what_agrees_is_no_contradiction(line: str) -> None:
    assert parse_dialogue([line])[0].conflicts == ()


def test_a_later_change_replaces_what_it_contradicts() -> None:
    decision = parse_dialogue(["quantize gpt2 to Q4_K_M on the cpu", "use 8 bits instead"])[-1]
    assert dict(decision.slots) == {"model": "gpt2", "bits": 8, "device": "cpu"}
    assert decision.conflicts == ()
