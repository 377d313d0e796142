"""What comes back is harmless to its depth, and still what was asked for."""

from typing import Literal

import pytest
from pydantic import BaseModel

from lqmf.errors import BadAnswer
from lqmf.providers.answers import cleaned, cleaned_data, parse
from lqmf.providers.base import Usage
from tests.providers.places import Advice


def test_data_is_cleaned_to_its_depth():
    assert cleaned_data({"a\x1b[2J": ["b\x07", {"c": ("\x00d", 1, None, True)}]}) == {
        "a": ["b", {"c": ["d", 1, None, True]}]
    }


def test_a_value_that_fits_no_more_without_its_escapes_is_a_bad_answer():
    class Odd(BaseModel):
        name: Literal["a\x1b[2J"]

    with pytest.raises(BadAnswer):
        cleaned("claude", Odd(name="a\x1b[2J"), Usage())
    value = Advice(type="Q4_K_M", bits=4)
    assert cleaned("claude", value, Usage()) is value


GOOD = '{"type": "Q4_K_M", "bits": 4}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```\n",
        f"<think>\nMaybe {{Q8_0}}? No.\n</think>\n\n{GOOD}",
        f"Sure! Here is the JSON you asked for:\n{GOOD}\nI hope it helps.",
        f"<think>{GOOD}</think>```json\n{GOOD}\n```",
    ],
)
def test_the_one_object_of_an_answer_is_read_whatever_stands_around_it(text: str) -> None:
    assert parse("local", text, Advice, Usage()) == Advice(type="Q4_K_M", bits=4)


@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD}\nor\n{GOOD}",
        f'```json\n{{"answer": {GOOD}\n```',  # cut: what is whole inside is no answer
        '```json\n{"type": "Q4_K_M", "bits": 4, "command": "rm -rf /"}\n```',
        "{" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_what_holds_no_single_whole_object_of_the_form_asked_for_stays_a_bad_answer(text: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        parse("local", text, Advice, Usage())
    assert "rm -rf" not in caught.value.message
