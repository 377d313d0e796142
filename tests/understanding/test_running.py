"""What is said of the cache and of chats at once, and what it leaves of the sentence."""

from __future__ import annotations

import pytest

from lqmf.understanding.dialogue import parse_dialogue
from lqmf.understanding.running import cache_type, kv_type, parallel


@pytest.mark.parametrize(
    ("line", "type_"),
    [
        ("with q8 kv cache", "q8_0"),
        ("quantized kv cache", "q8_0"),
        ("8-bit kv cache", "q8_0"),
        ("kv cache in q4_0", "q4_0"),
        ("fp16 kv", "f16"),
        ("do not quantize the kv cache", "f16"),
        ("unquantized kv cache", "f16"),
        ("kv cache: q8_0/q4_0", "q8_0/q4_0"),
        ("keys in 8 bits and values in 4 bits", "q8_0/q4_0"),
        ("only the v cache in q4_0", "f16/q4_0"),
        ("q8_0/q8_0 kv", "q8_0"),
        ("kv cache", None),
        ("in 8 bits", None),
        ("with my api keys", None),
    ],
)
def test_a_cache_is_read_as_llama_cpp_names_it(line: str, type_: str | None) -> None:
    assert kv_type(line)[0] == type_


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("for two chats at once", 2),
        ("4 parallel requests", 4),
        ("for 3 users at the same time", 3),
        ("5 people will use it simultaneously", 5),
        ("serve 8 users", 8),
        ("only one chat at a time", 1),
        ("parallel 6", 6),
        ("quantize two models at once", None),
        ("3 tests in parallel", None),
        ("1000 users", None),
    ],
)
def test_chats_at_once_are_counted(line: str, number: int | None) -> None:
    assert parallel(line)[0] == number


def test_the_caches_bits_are_not_the_models() -> None:
    assert dict(parse_dialogue(["plan gpt2 at 4 bits with an 8 bit kv cache"])[0].slots) == {
        "model": "gpt2",
        "bits": 4,
        "kv_type": "q8_0",
    }


@pytest.mark.parametrize(("spelling", "name"), [("Q8_0", "q8_0"), ("f16/f16", "f16"), ("int8/int4", "q8_0/q4_0")])
def test_a_spelling_stands_for_a_cache_type(spelling: str, name: str) -> None:
    assert cache_type(spelling) == name


@pytest.mark.parametrize("flags", ["--kv-type", "--kv-type nonsense"])
def test_an_unknown_cache_type_is_no_slot(flags: str) -> None:
    assert "kv_type" not in parse_dialogue([f"plan gpt2 {flags}"])[0].slots


def test_ram_is_the_memory_where_no_gpu_is_meant() -> None:
    said = ["plan gpt2 with 16 GB of RAM", "and a card with 8 GB", "with 32 GB of RAM beside it", "no, cpu only"]
    wanted = [
        {"memory_gb": 16},
        {"memory_gb": 8, "device": "gpu"},
        {"memory_gb": 8, "device": "gpu", "ram_gb": 32},
        {"memory_gb": 32, "device": "cpu"},
    ]
    got = [dict(decision.slots) for decision in parse_dialogue(said)]
    assert got == [{"model": "gpt2", **slots} for slots in wanted]


def test_another_gpu_takes_the_memory_of_the_last_with_it() -> None:
    said = ["plan gpt2 for my 8GB card", "what if I bought a 4090?"]
    assert dict(parse_dialogue(said)[-1].slots) == {"model": "gpt2", "device": "gpu"}


@pytest.mark.parametrize(
    ("line", "slots"),
    [
        ("what's the best I can run here?", {}),
        ("what's the best I can run on that card?", {"device": "gpu", "memory_gb": 8}),
        ("what's the best of it I can run?", {"model": "gpt2", "device": "gpu", "memory_gb": 8, "priority": "quality"}),
    ],
)
def test_a_question_of_models_in_general_inherits_the_machine_that_it_points_to_and_no_model(
    line: str, slots: dict[str, object]
) -> None:
    assert dict(parse_dialogue(["will gpt2 fit on my 8GB card?", line])[-1].slots) == slots
