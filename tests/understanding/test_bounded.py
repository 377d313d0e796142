"""Every line is read in bounded time, every number is bounded: nobody's line hangs a chat or spoils the next."""

from __future__ import annotations

import importlib
import pkgutil
import random
import re._constants as opcode
import re._parser as parser
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lqmf.understanding
from lqmf.understanding.dialogue import parse_dialogue
from lqmf.understanding.lexicon import MOST
from lqmf.understanding.patterns import Pattern
from lqmf.understanding.wording import LONGEST

PATIENCE_SECONDS = (
    1.0  # of the processor, for what takes milliseconds: a pattern that doubles with each word takes years
)
CHANCE = random.Random(6)


def patterns() -> dict[str, Pattern]:
    """Every pattern of the package, by its text."""
    for module in pkgutil.iter_modules(lqmf.understanding.__path__):
        importlib.import_module(f"lqmf.understanding.{module.name}")
    import gc

    return {found.pattern: found for found in gc.get_objects() if isinstance(found, Pattern)}


def example(tree: Any) -> str:
    """Some text that a parsed expression matches, but for what it looks around for."""
    return "".join(_part(op, value) for op, value in tree)


def _part(op: Any, value: Any) -> str:
    match op:
        case opcode.LITERAL:
            return chr(value)
        case opcode.IN:
            kind, one = CHANCE.choice(value)
            return {opcode.LITERAL: lambda: chr(one), opcode.RANGE: lambda: chr(one[0])}.get(kind, lambda: "7")()
        case opcode.BRANCH:
            return example(CHANCE.choice(value[1]))
        case opcode.SUBPATTERN:
            return example(value[3])
        case opcode.ATOMIC_GROUP:
            return example(value)
        case opcode.MAX_REPEAT | opcode.MIN_REPEAT | opcode.POSSESSIVE_REPEAT:
            return "".join(example(value[2]) for _ in range(CHANCE.randint(value[0], min(value[0] + 2, value[1]))))
    return "" if op in (opcode.AT, opcode.ASSERT, opcode.ASSERT_NOT) else "a"


def repeated(tree: Any) -> Iterator[Any]:
    """The parts of a parsed expression that may be there many times."""
    for op, value in tree:
        if op in (opcode.MAX_REPEAT, opcode.MIN_REPEAT, opcode.POSSESSIVE_REPEAT):
            if value[1] > 4:
                yield value[2]
            yield from repeated(value[2])
        elif op is opcode.BRANCH:
            for branch in value[1]:
                yield from repeated(branch)
        elif op in (opcode.SUBPATTERN, opcode.ATOMIC_GROUP):
            yield from repeated(value[3] if op is opcode.SUBPATTERN else value)


def adversarial(pattern: Pattern) -> set[str]:
    """Lines as long as any that is read, made of what the pattern itself repeats, and ended by what it cannot match."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    parts = [example(part) for part in repeated(tree) for _ in range(2)] + [example(tree) + " "]
    starts = ("", example(tree))
    return {(start + part * LONGEST)[: LONGEST - 1] + "\x7f" for part in parts if part for start in starts}


def test_no_pattern_takes_long_for_the_lines_that_are_worst_for_it() -> None:
    slow = []
    for text, pattern in patterns().items():
        for line in adversarial(pattern):
            begun = time.process_time()
            pattern.search(line)
            if time.process_time() - begun > PATIENCE_SECONDS:
                slow.append((text[:60], line[:60]))
    assert slow == []


@pytest.mark.parametrize(
    "line",
    [
        "don't " * 5000,
        "cancel " + "that " * 200,
        "bye-" * 400 + "x",
        "do it " * 900 + "?",
        "!" * 9000,
        "quantize gpt2 " + "with gptq, on " * 400,
        "(" * 4000,
        "7" * 4000,
        "quantize " + "a/b " * 3000,
    ],
)
def test_a_line_without_end_is_read_in_time(line: str) -> None:
    begun = time.process_time()
    parse_dialogue(["plan gpt2", line])
    assert time.process_time() - begun < PATIENCE_SECONDS


HUGE = ["9" * 13, "9" * 200, "9" * 5000, "9,999,999,999,999", "99999999999"]
ASKED = [
    "quantize gpt2 to {} bits",
    "quantize gpt2 for a {} GB gpu",
    "plan gpt2 with {} tokens of context",
    "plan gpt2 with {}k context for {} users at once",
    "quantize gpt2 to {} MB",
    "plan gpt2 --memory {} --context {} --bits {} --parallel {}",
    "use {}",
    "on {}",
    "set gpu memory limit to {}",
]


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(HUGE), st.sampled_from(ASKED))
def test_a_number_that_nobody_means_fills_no_slot(number: str, line: str) -> None:
    first, second = parse_dialogue(["plan gpt2 for 8GB", line.replace("{}", number)])
    for name, value in second.slots.items():
        assert name not in MOST or 0 < value <= MOST[name]
    assert first.slots["memory_gb"] == 8
