"""What "the last two" and "it" point to."""

from __future__ import annotations

import pytest

from lqmf.understanding.dialogue import parse_dialogue

TESTED = ["test gpt2_bnb_4bit", "test gpt2_bnb_8bit"]


@pytest.mark.parametrize(
    "line", ["compare the last two", "compare the two latest", "which one is smaller?", "compare both"]
)
def test_the_last_two_known_artifacts_are_compared_in_the_order_they_were_named(line: str) -> None:
    assert dict(parse_dialogue([*TESTED, line])[-1].slots) == {"names": ["gpt2_bnb_4bit", "gpt2_bnb_8bit"]}


@pytest.mark.parametrize("before", [[], TESTED[:1]])
def test_the_last_two_name_nothing_where_fewer_are_known(before: list[str]) -> None:
    decision = parse_dialogue([*before, "compare the last two"])[-1]
    assert (decision.intent, dict(decision.slots)) == ("compare", {})


@pytest.mark.parametrize(
    "courteous", ["please {}", "could you {}", "ok so {}", "{} please", "{}, thanks!", "{} for me", "{} 🙏"]
)
@pytest.mark.parametrize(
    "line", ["quantize gpt2 to 4 bit gguf", "list failed runs", "exit", "help", "delete gpt2_bnb_4bit"]
)
def test_courtesies_change_nothing(courteous: str, line: str) -> None:
    plain, polite = parse_dialogue([line])[0], parse_dialogue([courteous.format(line)])[0]
    assert (polite.intent, polite.slots) == (plain.intent, plain.slots)


def test_an_artifact_nobody_named_yet_is_named_by_its_kind():
    for line, name in (
        ("test nf4", "nf4"),
        ("verify the Q8_0", "Q8_0"),
        ("delete the gptq one", "gptq"),
        ("show me the 4 bit version", "4bit"),
    ):
        assert parse_dialogue([line])[0].slots == {"name": name}, line
    assert parse_dialogue(["compare nf4 and int8"])[0].slots == {"names": ["nf4", "int8"]}
    assert parse_dialogue(["delete it"])[0].slots == {}
