"""Graphics cards are known by the names that people give them, and by no number that means something else."""

import dataclasses

import pytest

from lqmf.fit import budget, cards
from lqmf.records import Gpu, Hardware, Request
from lqmf.understanding.dialogue import parse_dialogue

GIB = 1 << 30
HERE = Hardware("cpu", 4, 16 * GIB, 12 * GIB)


@pytest.mark.parametrize(
    ("said", "memory"),
    [
        ("can i run a 70b on my 3060?", 12),
        ("an rtx 4090", 24),
        ("my gtx-1060", 6),
        ("3060ti", 8),
        ("a 4070 ti super", 16),
        ("2x 3090", 48),
        ("rx 7600", 8),
        ("a 7900xtx", 24),
        ("an a100", 40),
        ("my laptop has an rtx 4060", 8),
        ("a 3060 laptop gpu", 6),
        ("arc b580", 12),
    ],
)
def test_a_card_has_its_makers_memory(said: str, memory: int) -> None:
    found = cards.find(said)
    assert found is not None
    assert found.memory_gb == memory


@pytest.mark.parametrize(
    "said", ["ryzen 7600", "1080p video", "quantize qwen3-4080", "a 70b", "12 gb", "mi t40", "llama-3060b", "x" * 5000]
)
def test_other_numbers_are_no_card(said: str) -> None:
    assert cards.find(said) is None


def test_every_card_of_the_table_is_found_by_its_own_name() -> None:
    for family, numbers in cards._TABLE.items():
        for number, sold in numbers.items():
            found = cards.find(f"{family} {number}".lower().replace("laptop rtx", "laptop with an rtx"))
            assert found is not None
            assert (found.memory_gb, found.also) == (sold[0], sold[1:]), number


def memory(hardware: Hardware = HERE, **said: object) -> tuple[int, str]:
    request = dataclasses.replace(Request.of({"device": "gpu"}), **said)  # type: ignore[arg-type]
    found = budget.machine(request, hardware, gpu_limit_bytes=8 * GIB, program_ram=0)
    return found.gpu_bytes, found.gpu_reason


def test_the_memory_of_a_named_card_is_planned_with_unless_an_amount_was_said_or_the_card_is_here() -> None:
    assert memory(card="RTX 3060")[0] == 12 * GIB - budget.GPU_RESERVE_BYTES
    assert "RTX 3060; others of that name have 8 GB" in memory(card="RTX 3060")[1]
    assert memory(card="RTX 3060", memory_gb=8.0)[0] == 8 * GIB - budget.GPU_RESERVE_BYTES
    there = dataclasses.replace(HERE, gpus=(Gpu("NVIDIA GeForce RTX 3060", 12 * GIB, 3 * GIB),))
    assert memory(there, card="RTX 3060") == (3 * GIB, "3.0 GB on the GPU (what is free)")
    assert "--memory" in memory()[1]


def test_a_card_stays_with_the_questions_after_it_until_another_machine_is_named() -> None:
    lines = ("can I run a 70b on my 3060?", "and with 16k context?", "what about an 8 GB card?", "and a 4090?")
    first, second, third, fourth = parse_dialogue(lines)
    assert (first.card, first.size_billions) == ("RTX 3060", 70)
    assert second.card == "RTX 3060"
    assert third.card is None
    assert third.slots["memory_gb"] == 8
    assert fourth.card == "RTX 4090" or "memory_gb" in fourth.slots
    assert set(first.slots) == {"device"}
