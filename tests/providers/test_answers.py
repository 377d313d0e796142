"""What comes back is harmless to its depth, and still what was asked for."""

from typing import Literal

import pytest
from pydantic import BaseModel

from lqmf.errors import BadAnswer
from lqmf.providers.answers import cleaned, cleaned_data
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
