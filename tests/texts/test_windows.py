"""Windows are llama-perplexity's: whole, in order, without overlap, each beginning as the model begins a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.texts.windows import cut, first_scored


@given(count=st.integers(0, 200), length=st.integers(1, 20))
def test_windows_are_the_text_in_order_without_its_end(count, length):
    tokens = list(range(count))
    windows = cut(tokens, length)
    assert all(len(window) == length for window in windows)
    assert [token for window in windows for token in window] == tokens[: count - count % length]


def test_the_beginning_token_replaces_the_first_of_each_window():
    assert cut([5, 6, 7, 8, 9], 2, bos=1) == [[1, 6], [1, 8]]


@pytest.mark.parametrize(("length", "scored"), [(512, 255), (2, 0), (5, 2)])
def test_the_second_half_is_scored_but_for_the_last_position(length, scored):
    assert length - 1 - first_scored(length) == scored
