"""What of a wish is not used is said; what is used, or wishes for nothing, is not."""

from __future__ import annotations

import pytest

from lqmf.understanding.dialogue import parse_dialogue
from lqmf.understanding.unused import unused


def left_out(line: str) -> str:
    return "; ".join(unused(line, parse_dialogue([line])[0]))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("quantize gpt2 to awq", "to awq (gguf, gptq and bnb are offered)"),
        ("quantize gpt2 with exl2", "with exl2 (gguf, gptq and bnb are offered)"),
        ("quantize gpt2 to Q7_0", "to Q7_0 (there is no type Q7_0)"),
        ("plan gpt2 in Q9_0", "in Q9_0 (there is no type Q9_0)"),
        ("quantize gpt2 to 64 bits", "to 64 bits (there are 1 to 32 bits)"),
        ("quantize demo to 4 bits with a cherry on top", "with a cherry on top"),
        ("plan mistral 7b for 8GB with flash attention", "with flash attention"),
        ("quantize gpt2 to 4 bits, then upload it to hugging face", "then upload it; to hugging face"),
        ("quantize gpt2 for a -3GB card", "-3GB is no amount of memory"),
        (f"quantize gpt2 {'please ' * 90}", "what follows the first 400 characters"),
    ],
)
def test_a_part_that_changes_nothing_is_told(line: str, told: str) -> None:
    assert left_out(line) == told


@pytest.mark.parametrize(
    "line",
    [
        "quantize gpt2 to 4 bits",
        "please quantize gpt2 for my laptop without a gpu",
        "make a 4-bit gguf of org/model with 16k context for 2 users at once",
        "quantize gpt2 with gguf, not gptq, on the cpu",
        "quantize gpt2 to 4 bits, or rather 5 bits",
        "quantize demo without test",
        "test gpt2_bnb_4bit with a cherry on top",
    ],
)
def test_what_is_used_is_not_told(line: str) -> None:
    assert left_out(line) == ""


@pytest.mark.parametrize(
    ("line", "test"),
    [
        ("quantize demo without test", "none"),
        ("quantize demo to Q4_K_M, no test", "none"),
        ("quantize demo, skip the measuring", "none"),
        ("quantize demo and don't test it", "none"),
        ("quantize demo with a quick test", "quick"),
        ("quantize demo with a comprehensive test", "comprehensive"),
        ("quantize demo", None),
    ],
)
def test_how_well_to_measure_is_read(line: str, test: str | None) -> None:
    decision = parse_dialogue([line])[0]
    assert (decision.intent, decision.slots.get("test")) == ("quantize", test)


@pytest.mark.parametrize("line", ["skip the test", "no test please", "without measuring", "don't test it"])
def test_to_skip_the_test_is_no_test(line: str) -> None:
    assert parse_dialogue([line])[0].intent == "unknown"
    assert dict(parse_dialogue(["quantize demo", line])[-1].slots) == {"model": "demo", "test": "none"}
