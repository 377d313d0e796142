"""Whether a line answers a question, and with what."""

from __future__ import annotations

from typing import Any

import pytest

from lqmf.records import Option, Question
from lqmf.understanding.answers import about, answer, is_curious

BITS = Question(
    "bits",
    "How many bits?",
    (Option(4, "4 bits, small"), Option(5, "5 bits, balanced"), Option(8, "8 bits, close to the source")),
    default=4,
)
TYPE = Question("type", "Which type?", (Option("Q4_K_M", "Q4_K_M"), Option("Q5_K_M", "Q5_K_M")), default="Q4_K_M")
FALLBACK = Question("cpu_fallback", "Use the CPU if needed?", (Option(True, "yes"), Option(False, "no")), default=True)
MODEL = Question("model", "Which model?")
DELETE = Question("delete", "Delete it?", kind="confirm")
TOKEN = Question("token", "Your token?", kind="secret")


@pytest.mark.parametrize(
    ("question", "line", "value"),
    [
        (BITS, "4", 4),
        (BITS, "5 bits", 5),
        (BITS, "make it 8 bit please", 8),
        (BITS, "five bits", 5),
        (BITS, "1", 4),
        (BITS, "the second one", 5),
        (BITS, "yes", 4),
        (BITS, "ok", 4),
        (BITS, "6 bits", 6),
        (TYPE, "q5_k_m", "Q5_K_M"),
        (TYPE, "Q6_K", "Q6_K"),
        (TYPE, "2", "Q5_K_M"),
        (TYPE, "sounds good", "Q4_K_M"),
        (FALLBACK, "no", False),
        (FALLBACK, "yes please", True),
        (MODEL, "facebook/opt-125m", "facebook/opt-125m"),
        (MODEL, "mistral 7b", "mistral 7b"),
        (MODEL, "./my-model", "./my-model"),
        (DELETE, "yes", True),
        (DELETE, "no, keep it", False),
        (TOKEN, "hf_secret", "hf_secret"),
    ],
)
def test_an_answer_gives_its_value(question: Question, line: str, value: Any) -> None:
    reply = answer(question, line)
    assert (reply.kind, reply.value) == ("value", value)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("why?", "why"),
        ("why do you ask?", "why"),
        ("back", "back"),
        ("go back", "back"),
        ("cancel", "cancel"),
        ("never mind", "cancel"),
        ("stats", "other"),
        ("quantize gpt2 to 8 bits", "other"),
        ("what is GPTQ?", "other"),
    ],
)
@pytest.mark.parametrize("question", [BITS, TYPE, MODEL])
def test_what_is_no_answer_is_told_apart(question: Question, line: str, kind: str) -> None:
    assert answer(question, line).kind == kind


@pytest.mark.parametrize("line", ["maybe", "test it", "the default", "Q4_K_M", ""])
def test_only_a_yes_confirms(line: str) -> None:
    assert answer(DELETE, line).kind == "other"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("why not 2?", "why not Q5_K_M?"),
        ("what is the difference between 1 and 2?", "what is the difference between Q4_K_M and Q5_K_M?"),
        ("explain option 2", "explain Q5_K_M"),
        ("why not 9?", "why not 9?"),
        ("how about 5 bits?", "how about 5 bits?"),
        ("2", "2"),
    ],
)
def test_numbers_in_a_question_about_options_stand_for_them(line: str, meant: str) -> None:
    assert about(TYPE, line) == meant


@pytest.mark.parametrize("line", ["help", "explain gptq", "why not 2?", "what is the difference between 1 and 2?"])
def test_a_curious_line_neither_answers_nor_ends_a_question(line: str) -> None:
    assert is_curious(TYPE, line)
    assert answer(TYPE, line).kind == "other"


@pytest.mark.parametrize("line", ["5 bits", "for cpu", "list", "quantize gpt2 to 8 bits", "Q5_K_S"])
def test_other_lines_are_not_curious(line: str) -> None:
    assert not is_curious(TYPE, line)
