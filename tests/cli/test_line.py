"""A line that parses whole as a command is a command; anything else is a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lqmf.cli import session
from lqmf.cli.render import Screen
from lqmf.errors import LqmfError, UsageError
from lqmf.understanding import slot_table

COMMANDS = [
    ("stats", "stats", {}),
    ("lqmf stats", "stats", {}),
    ("quantize gpt2", "quantize", {"model": "gpt2"}),
    (
        "quantize demo --type q4_k_m,Q8_0 --test none",
        "quantize",
        {"model": "demo", "type": "Q4_K_M,Q8_0", "test": "none"},
    ),
    ("quantize ./m --memory 8GB --device gpu", "quantize", {"model": "./m", "memory_gb": 8, "device": "gpu"}),
    ("quantize org/m@main --context 16k --bits 5", "quantize", {"model": "org/m@main", "context": 16384, "bits": 5}),
    (
        "quantize m --target-size 4.2GB --cpu-fallback",
        "quantize",
        {"model": "m", "target_size_gb": 4.2, "cpu_fallback": True},
    ),
    (
        "plan demo --priority size --no-cpu-fallback",
        "plan",
        {"model": "demo", "priority": "size", "cpu_fallback": False},
    ),
    ("test list", "test", {"action": "list"}),
    ("test discover", "test", {"action": "discover"}),
    ("test demo_gguf_4bit_Q4_K_M --quick", "test", {"name": "demo_gguf_4bit_Q4_K_M", "test": "quick"}),
    ("test q4_k_m --comprehensive", "test", {"name": "q4_k_m", "test": "comprehensive"}),
    ("test ./somewhere/else.gguf", "test", {"name": "./somewhere/else.gguf"}),
    (
        "compare demo_gguf_4bit_Q4_K_M demo_gguf_8bit_Q8_0",
        "compare",
        {"names": ["demo_gguf_4bit_Q4_K_M", "demo_gguf_8bit_Q8_0"]},
    ),
    ("delete Q8_0 --force", "delete", {"name": "Q8_0", "force": True}),
    ("list --status failed", "list", {"status": "failed"}),
    ("show", "show", {}),
    ("show Q8_0", "show", {"name": "Q8_0"}),
    ("config set log_level debug", "config", {"key": "log_level", "value": "debug"}),
    ("config get log_level", "config", {"key": "log_level"}),
    ("hf login", "hf_login", {}),
    ("hf status", "hf_status", {}),
    ("hf logout", "hf_logout", {}),
    ("doctor --fix", "doctor", {"fix": True}),
    ("help quantize", "help", {"topic": "quantize"}),
    ("exit", "exit", {}),
]
SENTENCES = [
    "quantize gpt2 to 4 bits",
    "quantize gpt2 in 4bit",
    "quantize it",
    "quantize demo, please",
    "test it",
    "test that one",
    "test quickly",
    "compare it with the last one",
    "compare Q4_K_M and Q8_0",
    "compare them",
    "delete it",
    "delete everything",
    "delete nothing_like_it",
    "list failed jobs",
    "show me the last one",
    "show it",
    "verify it",
    "stats please",
    "help me",
    "what's the weather like?",
    "make a 4-bit gguf of org/model",
    "quantize gpt2 --fast",
    "plan a 4-bit version of gpt2",
    "plan -3",
    "compare",
    "quantize 'gpt2",
    "hf, log me in",
    "",
]


@pytest.fixture
def talk(home: Path, make_artifact: Callable[..., Path]) -> session.Session:
    """A chat in a workspace with two artifacts."""
    make_artifact("demo_gguf_4bit_Q4_K_M")
    make_artifact("demo_gguf_8bit_Q8_0", "Q8_0", 8)
    return session.Session(Screen(), {})


@pytest.mark.parametrize(("line", "intent", "slots"), COMMANDS, ids=[line for line, _, _ in COMMANDS])
def test_a_command_line_gives_its_intent_and_its_options_as_slots(
    talk: session.Session, line: str, intent: str, slots: dict[str, Any]
) -> None:
    read = session.read_line(line, talk)
    assert read is not None
    assert read.decision is not None
    assert (read.decision.intent, dict(read.decision.slots)) == (intent, slots)


@pytest.mark.parametrize("line", SENTENCES)
def test_anything_else_is_a_sentence_as_it_was_typed(talk: session.Session, line: str) -> None:
    read = session.read_line(line, talk)
    assert read is not None
    assert read.module is None
    assert read.sentence == line


def test_an_option_that_no_command_has_is_told_when_the_line_is_read_as_a_sentence(
    talk: session.Session, capsys: pytest.CaptureFixture[str]
) -> None:
    session.read_line("quantize gpt2 --fast", talk)
    assert "No such option: --fast" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("plan demo --kv-type q9", "'q9' is no type of a KV cache. Write one of f16"),
        ("plan demo --memory -3GB", "'-3GB' is no size"),
        ("plan demo --memory", "'--memory' requires an argument"),
        ("quantize gpt2 --method foo", "'--method': 'foo' is not one of"),
        ("list --status lost", "'--status': 'lost' is not one of"),
    ],
)
def test_a_value_that_an_option_cannot_take_is_told_as_in_the_shell(
    talk: session.Session, line: str, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        session.read_line(line, talk)
    assert words in caught.value.message
    assert "--help` shows how it is used" in caught.value.remedy


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("what will a -3GB card run?", "-3GB is no amount of memory"),
        ("plan something for -1.5 gb", "-1.5 gb is no amount of memory"),
        ("plan something for 4 -8GB", ""),
    ],
)
def test_an_amount_below_zero_is_left_out_with_a_word(
    talk: session.Session, capsys: pytest.CaptureFixture[str], line: str, note: str
) -> None:
    asyncio.run(talk.line(line))
    told = capsys.readouterr().err
    assert note in told if note else "no amount" not in told


def test_help_is_printed_and_nothing_is_left_to_do(talk: session.Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert session.read_line("quantize --help", talk) is None
    assert "lqmf quantize demo --type Q4_K_M" in capsys.readouterr().out


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_line_is_read_without_a_fault(talk: session.Session, line: str) -> None:
    try:
        read = session.read_line(line, talk)
    except LqmfError:
        return
    assert read is None or read.module or read.sentence == line


def test_bits_with_a_fraction_ask_for_a_mix() -> None:
    assert slot_table.settled({"bits": 4.0, "type": None}) == {"bits": 4}
    assert slot_table.settled({"bits": 4.25, "type": None}) == {"bits": 4.25, "type": "auto"}
    assert slot_table.settled({"bits": None, "type": "Q4_K_M"}) == {"type": "Q4_K_M"}


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("q4_k_m", "Q4_K_M"),
        ("NF4", "nf4"),
        ("iq4_xs,q8_0", "IQ4_XS,Q8_0"),
        ("bf16", "BF16"),
        ("Auto", "auto"),
        ("Q6_K,AUTO@4.2GB", "Q6_K,auto@4.2GB"),
    ],
)
def test_types_are_spelled_their_own_way(typed: str, name: str) -> None:
    assert slot_table.type_names(typed) == name


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "9" * 200, "0", "-4", "33", "\udcff"])
def test_bits_that_nobody_means_are_refused_in_words(talk: session.Session, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        session.read_line(f"plan demo --bits {text}", talk)
    assert "no number of bits" in caught.value.message or "requires an argument" in caught.value.message
    assert len(caught.value.message) < 200
