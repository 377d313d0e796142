"""What holds for every line, whoever wrote it."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lqmf.understanding.dialogue import parse_dialogue
from lqmf.understanding.lexicon import INTENTS, SLOTS, type_name
from lqmf.understanding.models import HUB_ID, is_path

SPOKEN = """quantize gpt2 mistral 7b to 4 bit Q4_K_M nf4 on the gpu cpu with 8GB vram 16k context compare test delete it
    no, sorry same don't just list failed config set log_level debug microsoft/phi-2@main gpt2_gguf_4bit_v2 ./a/b.txt
    ~/m calibrate fallback if out of memory and or not without --type --bits --memory 99999999999 k GB ? ;
    rm -rf / $( ` <m0> <n9> 量化 für kv cache q8_0 q8_0/q4_0 keys values two users chats at once RAM card best which
    models fit I can run here smaller --ram 8GB --kv-type"""
PARTS = "bnb 4bit gguf Q4_K_M fp16 8bit gptq cpu mini 4k instruct int8 nf4 v2 test list 7B safetensors"
WORDS = st.sampled_from(SPOKEN.split())
LINES = st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=14).map(" ".join))

NUMBERS = {"bits", "memory_gb", "ram_gb", "context", "parallel", "target_size_gb"}
CACHE_TYPES = {"f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"}
CHOICES = {
    "method": {"gguf", "gptq", "bnb"},
    "test": {"none", "quick", "comprehensive"},
    "device": {"cpu", "gpu"},
    "format": {"gguf", "safetensors"},
    "priority": {"quality", "speed", "size"},
    "status": {"ok", "failed"},
    "provider": {"claude", "openai", "gemini", "local"},
    "cpu_fallback": {True, False},
}


def check_slot(key: str, value: Any) -> None:
    assert key in SLOTS
    if key in NUMBERS:
        assert isinstance(value, int | float)
        assert not isinstance(value, bool)
    elif key in CHOICES:
        assert value in CHOICES[key]
    elif key == "kv_type":
        assert 1 <= len(set(value.split("/")) & CACHE_TYPES) == len(value.split("/"))
    elif key == "type":
        assert type_name(value) == value
    elif key == "names":
        assert value
        assert all(isinstance(name, str) for name in value)
    else:
        assert isinstance(value, str)


def texts(slots: Any) -> str:
    return "".join(str(value) for value in slots.values())


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=4))
def test_any_dialogue_is_read_without_an_error_into_known_intents_and_slots(lines: list[str]) -> None:
    decisions = parse_dialogue(lines)
    assert len(decisions) == len(lines)
    for decision in decisions:
        assert decision.intent in INTENTS
        assert 0 <= decision.confidence <= 1
        assert decision.reason
        for key, value in decision.slots.items():
            check_slot(key, value)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=120), st.sampled_from(["quantize ", "test ", "explain ", "config set log_level ", "delete "]))
def test_what_is_echoed_holds_no_control_characters(text: str, verb: str) -> None:
    decision = parse_dialogue([verb + text])[0]
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs") for c in texts(decision.slots))


@settings(max_examples=200, deadline=None)
@given(LINES)
def test_a_model_with_a_slash_is_a_hub_id_or_a_path(line: str) -> None:
    model = parse_dialogue([f"quantize {line}"])[0].slots.get("model", "")
    if "/" in model and not is_path(model):
        assert re.fullmatch(HUB_ID.pattern, model, re.ASCII)


NAME_PARTS = st.lists(st.sampled_from(PARTS.split()), min_size=1, max_size=4)


@settings(max_examples=200, deadline=None)
@given(NAME_PARTS, st.sampled_from("-_."))
def test_what_is_inside_an_id_is_no_slot(parts: list[str], between: str) -> None:
    model = "some-org/model" + between + between.join(parts)
    assert dict(parse_dialogue([f"quantize {model}"])[0].slots) == {"model": model}


@settings(max_examples=200, deadline=None)
@given(NAME_PARTS)
def test_what_is_inside_an_artifacts_name_is_no_slot(parts: list[str]) -> None:
    name = "org_model_gguf_4bit_" + "_".join(parts)
    assert dict(parse_dialogue([f"test {name}"])[0].slots) == {"name": name}
