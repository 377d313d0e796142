"""Text leaves a stream in whole characters, never with any of a stop string, and none of it is lost."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lqmf.engines.stops import TextStream


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    cuts = [0, *sorted(min(size, len(data)) for size in sizes), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


def streamed(data: bytes, sizes: list[int], stop: tuple[str, ...] = ()) -> str:
    stream = TextStream(stop)
    return "".join([stream.feed(piece) for piece in pieces(data, sizes)]) + stream.finish()


@given(text=st.text(), sizes=st.lists(st.integers(0, 60), max_size=12))
def test_however_the_bytes_are_cut_the_text_is_the_same(text, sizes):
    data = text.encode("utf-8", "replace")
    assert streamed(data, sizes) == data.decode("utf-8", "replace")


@given(data=st.binary(max_size=40), sizes=st.lists(st.integers(0, 40), max_size=8))
def test_bytes_that_are_no_text_become_replacement_characters(data, sizes):
    assert streamed(data, sizes) == data.decode("utf-8", "replace")


@given(
    text=st.text(alphabet="ab<>", max_size=40),
    stop=st.lists(st.text(alphabet="ab<>", min_size=1, max_size=4), min_size=1, max_size=3),
    sizes=st.lists(st.integers(0, 40), max_size=12),
)
def test_text_ends_just_before_the_first_stop_string(text, stop, sizes):
    at = [text.find(s) for s in stop if s in text]
    out = streamed(text.encode(), sizes, tuple(stop))
    # What comes in one go may hold an earlier stop string that only a longer one would have hidden.
    assert text.startswith(out)
    assert not any(s in out for s in stop)
    assert len(out) <= min(at) + max(map(len, stop)) if at else out == text


def test_what_could_become_a_stop_string_is_held_until_it_is_decided():
    stream = TextStream(("</s>",))
    assert stream.feed(b"one <") == "one "
    assert stream.feed(b"/") == ""
    assert stream.feed(b"i>") == "</i>"
    assert stream.feed(b" two</s> three") == " two"
    assert stream.stopped
    assert stream.feed(b"four") == ""
    assert stream.finish() == ""
