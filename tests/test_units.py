"""Sizes are read as people write them, and written as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf import units
from lqmf.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4.2GB", 4_200_000_000), ("700 MB", 700_000_000), ("1.5GiB", 1_610_612_736), ("12KB", 12_000), ("99", 99)],
)
def test_file_sizes_count_in_thousands_unless_they_say_i(text: str, expected: int) -> None:
    assert units.parse_file_size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("8GB", 8 << 30), ("8GiB", 8 << 30), ("8", 8 << 30), ("512MB", 512 << 20)]
)
def test_memory_sizes_count_in_powers_of_1024_as_cards_are_sold(text: str, expected: int) -> None:
    assert units.parse_memory(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("4096", 4096), ("16k", 16384), ("8K", 8192)])
def test_tokens_count_k_as_1024(text: str, expected: int) -> None:
    assert units.parse_tokens(text) == expected


@pytest.mark.parametrize("text", ["", "big", "-1GB", "0", "1 GB 2", "nan", "1e3"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    for parse in (units.parse_file_size, units.parse_memory, units.parse_tokens):
        with pytest.raises(UsageError) as error:
            parse(text)
        assert error.value.remedy


@given(st.integers(min_value=0, max_value=10**15))
def test_a_size_is_told_in_few_characters_and_can_be_read_again(size_bytes: int) -> None:
    shown = units.file_size(size_bytes)
    assert len(shown) <= 8
    if size_bytes:
        assert abs(units.parse_file_size(shown) - size_bytes) <= 0.06 * size_bytes


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.42, "0.4 s"), (42, "42 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (None, "-")]
)
def test_durations_are_told_in_the_unit_that_fits(seconds: float | None, expected: str) -> None:
    assert units.duration(seconds) == expected


@pytest.mark.parametrize("text", ["9" * 16 + "GB", "9" * 200, "9" * 5000 + "k", "9999TB"])
def test_a_number_that_nobody_means_is_refused_in_a_short_sentence(text: str) -> None:
    for parse in (units.parse_file_size, units.parse_memory, units.parse_tokens):
        with pytest.raises(UsageError) as error:
            parse(text)
        assert len(error.value.message) < 80
