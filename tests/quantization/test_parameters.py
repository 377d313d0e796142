"""A method's own settings: read from text, checked, complete."""

from __future__ import annotations

from typing import Any

import pytest

from lqmf.errors import UsageError
from lqmf.quantization.parameters import Parameter, pairs, settled

KNOWN = {
    one.name: one
    for one in (
        Parameter("group_size", 128, "of weights", (-1, 32, 128)),
        Parameter("damp", 0.05, "of the mean", low=0.001, high=0.9),
        Parameter("sym", True, "symmetric"),
        Parameter("skip", (), "modules"),
        Parameter("threshold", 6.0, "of outliers", low=0, types=("int8",)),
    )
}


def test_what_was_not_said_has_its_default_and_a_type_has_its_own_settings_only() -> None:
    assert settled(KNOWN, {}, "nf4") == {"group_size": 128, "damp": 0.05, "sym": True, "skip": ()}
    assert settled(KNOWN, {}, "int8")["threshold"] == 6.0


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ({"group_size": "32"}, 32),
        ({"group_size": -1}, -1),
        ({"damp": "0.1"}, 0.1),
        ({"sym": "no"}, False),
        ({"sym": True}, True),
        ({"skip": "lm_head, layers.0"}, ("lm_head", "layers.0")),
        ({"skip": ["a"]}, ("a",)),
    ],
)
def test_text_and_values_become_the_settings_own_kind(said: dict[str, Any], value: Any) -> None:
    assert settled(KNOWN, said)[next(iter(said))] == value


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ({"group": "32"}, "group_size"),
        ({"threshold": "5"}, "group_size"),
        ({"group_size": "33"}, "-1, 32, 128"),
        ({"group_size": "many"}, "-1, 32, 128"),
        ({"damp": "2"}, "from 0.001 to 0.9"),
        ({"damp": "nan"}, "from 0.001 to 0.9"),
        ({"sym": "perhaps"}, "true or false"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(said: dict[str, Any], remedy: str) -> None:
    with pytest.raises(UsageError) as error:
        settled(KNOWN, said, "nf4")
    assert remedy in error.value.remedy


def test_settings_are_written_name_value_each_once() -> None:
    assert pairs(["group-size=64", " sym = no "]) == {"group_size": "64", "sym": "no"}
    for wrong in (["group_size"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(UsageError):
            pairs(wrong)
