"""What a type is expected to lose: the published table, its order, and what measurements change."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.fit.needs import CACHE_TYPES
from lqmf.fit.quality import CLEAR, KEYS, LITTLE, VALUES, WEIGHTS, expected_loss
from lqmf.model_files.gguf_types import TYPES

QUANTIZED = tuple(name for name, kl in WEIGHTS.items() if kl)


def test_the_usual_type_loses_little_and_a_3_bit_one_does_not() -> None:
    assert expected_loss("Q4_K_M").kl_nats <= LITTLE
    assert expected_loss("Q4_K_M", "q8_0", "q8_0").kl_nats <= LITTLE
    assert LITTLE < expected_loss("Q3_K_M").kl_nats <= CLEAR < expected_loss("Q2_K").kl_nats


@pytest.mark.parametrize("name", TYPES)
def test_every_type_that_can_be_written_has_an_expectation_and_its_origin(name: str) -> None:
    loss = expected_loss(name)
    assert loss.kl_nats >= 0
    assert "llama.cpp" in loss.origin


def test_of_the_k_types_more_bits_lose_less() -> None:
    names = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "F16")
    losses = [expected_loss(name).kl_nats for name in names]
    assert losses == sorted(losses, reverse=True)


def test_a_type_without_a_source_lies_between_its_neighbours_and_says_so() -> None:
    between = expected_loss("MXFP4_MOE")
    assert WEIGHTS["Q4_K_S"] < between.kl_nats < WEIGHTS["Q3_K_L"]
    assert "between types of more and of fewer bits" in between.origin
    assert expected_loss("nf4").kl_nats < expected_loss("4bit").kl_nats < expected_loss("3bit").kl_nats
    assert expected_loss("int8").kl_nats < expected_loss("4bit").kl_nats
    with pytest.raises(ValueError, match="no method has a type"):
        expected_loss("squeezed")


def test_keys_are_more_sensitive_than_values() -> None:
    for name in CACHE_TYPES[1:]:
        assert KEYS[name] > VALUES[name]
    assert expected_loss("Q4_K_M", "q8_0", "q4_0").kl_nats < expected_loss("Q4_K_M", "q4_0", "q8_0").kl_nats
    assert "7412" in expected_loss("Q4_K_M", "q8_0", "f16").origin
    assert "7412" not in expected_loss("Q4_K_M").origin


@given(st.sampled_from(sorted(WEIGHTS)), st.sampled_from(CACHE_TYPES), st.sampled_from(CACHE_TYPES))
def test_a_cache_never_lessens_the_loss(name: str, k_type: str, v_type: str) -> None:
    assert expected_loss(name, k_type, v_type).kl_nats >= expected_loss(name).kl_nats


def test_a_measurement_wins_and_scales_the_types_that_were_not_measured() -> None:
    measured = {"Q4_K_M": WEIGHTS["Q4_K_M"] / 2, "Q8_0": WEIGHTS["Q8_0"] / 8}
    assert expected_loss("Q4_K_M", measured=measured).kl_nats == measured["Q4_K_M"]
    assert expected_loss("Q4_K_M", measured=measured).origin == "measured here"
    other = expected_loss("Q3_K_M", measured=measured)
    assert other.kl_nats == pytest.approx(WEIGHTS["Q3_K_M"] / 4)
    assert "after 2 measured types" in other.origin


def test_a_measurement_of_a_lossless_type_says_nothing_of_others() -> None:
    assert expected_loss("Q4_K_M", measured={"F16": 0.0}) == expected_loss("Q4_K_M")


@given(st.dictionaries(st.sampled_from(QUANTIZED), st.floats(0.0001, 2), max_size=3))
def test_measurements_keep_the_order_of_the_types_that_were_not_measured(measured: dict[str, float]) -> None:
    unmeasured = [name for name in QUANTIZED if name not in measured]
    losses = [expected_loss(name, measured=measured).kl_nats for name in sorted(unmeasured, key=WEIGHTS.__getitem__)]
    assert all(low <= high for low, high in itertools.pairwise(losses))


def test_a_model_of_quite_another_size_is_said_to_be_one() -> None:
    assert "another size" in expected_loss("Q4_K_M", parameters=7_300_000).origin
    assert "another size" not in expected_loss("Q4_K_M", parameters=8_000_000_000).origin
