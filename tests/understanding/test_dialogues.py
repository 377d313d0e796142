"""Dialogues with what they should be understood as.

`dev.jsonl` is the given set, `own.jsonl` the project's own, `blind.jsonl` was written by
someone who had not seen the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lqmf.records import Decision
from lqmf.understanding.dialogue import parse_dialogue

NEVER_A_JOB = "provider-"  # ids of turns that name a provider: none of them may begin a quantization
LATER = ("fit-third.jsonl", "fit-blind.jsonl")  # written before the rules that read them
# After questions in public threads. Rules were mended on one half; the other read 94 of 100 turns before it was seen.
ASKED = ("asked.jsonl", "asked-held.jsonl")
HERE = Path(__file__).parent


def dialogues(name: str) -> Iterator[dict[str, Any]]:
    with (HERE / name).open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def agrees(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(got, str) and re.fullmatch(wanted["re"], got, re.IGNORECASE) is not None
    return bool(wanted == got) and isinstance(wanted, bool) == isinstance(got, bool)


def is_right(turn: Mapping[str, Any], decision: Decision) -> bool:
    wanted, free = turn["expect"], set(turn.get("free", ()))
    slots = wanted["slots"]
    return (
        decision.intent == wanted["intent"]
        and all(agrees(value, decision.slots.get(key)) for key, value in slots.items())
        and set(decision.slots) <= set(slots) | free
    )


def wrong_turns(name: str) -> tuple[list[str], int]:
    wrong, total = [], 0
    for dialogue in dialogues(name):
        decisions = parse_dialogue([turn["say"] for turn in dialogue["turns"]])
        for turn, decision in zip(dialogue["turns"], decisions, strict=True):
            total += 1
            if not is_right(turn, decision):
                got = f"{decision.intent} {dict(decision.slots)} ({decision.reason})"
                wrong.append(f"{dialogue['id']} {turn['say']!r}\n    wanted {turn['expect']}\n    got    {got}")
    return wrong, total


@pytest.mark.parametrize(
    "name", ["dev.jsonl", "own.jsonl", "blind.jsonl", "fit.jsonl", "fit-later.jsonl", *LATER, *ASKED]
)
def test_at_least_97_of_100_turns_are_understood(name: str) -> None:
    wrong, total = wrong_turns(name)
    assert len(wrong) <= 0.03 * total, "\n".join([f"{len(wrong)} of {total} turns of {name} are read wrongly", *wrong])


def test_naming_a_provider_begins_no_job_even_where_its_model_is_named() -> None:
    told = [one for one in dialogues("own.jsonl") if one["id"].startswith(NEVER_A_JOB)]
    assert told
    for dialogue in told:
        said = [turn["say"] for turn in dialogue["turns"]]
        for turn, decision in zip(dialogue["turns"], parse_dialogue(said), strict=True):
            assert is_right(turn, decision), (said, decision)
