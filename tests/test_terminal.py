"""Nothing that steers a terminal is left of what others wrote, however it is cut into pieces."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.terminal import Cleaner, clean

EVIL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PARTS = st.sampled_from(
    ["\x1b", "[", "31m", "]0;", "\x07", "\x1b\\", "P", "\x9b", "2J", "\x9d", "\x9c", "\r", "\n", "text", " ", "é", "🚀",
     "\x1b[38;2;1;2;3m", "\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "\x00", "\u202e", "(B", "\x1bc", "\ud800"]
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain \t text\n", "plain \t text\n"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07shown", "shown"),
        ("\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\", "here"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x9b2Jclear", "clear"),
        ("\x1bcreset", "reset"),
        ("a\rb\r\nc", "ab\nc"),
        ("\x1b]52;c;cm0gLXJm\x07", ""),
        ("a\u202eb\u2066c", "abc"),
        ("\x1b", ""),
    ],
)
def test_escapes_go_and_text_stays(text, left):
    assert clean(text) == left


@given(st.lists(PARTS, max_size=12))
def test_pieces_come_to_what_the_whole_comes_to_and_nothing_evil_is_given_at_any_time(pieces):
    cleaner = Cleaner()
    given_ = [cleaner.feed(piece) for piece in pieces] + [cleaner.end()]
    assert "".join(given_) == clean("".join(pieces))
    assert not any(EVIL.search(piece) for piece in given_)


@given(st.text(max_size=60))
def test_cleaning_twice_is_cleaning_once(text):
    once = clean(text)
    assert clean(once) == once
    assert not EVIL.search(once)


def test_a_sequence_without_an_end_holds_nothing_back_for_ever():
    cleaner = Cleaner()
    shown = cleaner.feed("\x1b]0;") + cleaner.feed("x" * 300)
    assert shown == "]0;" + "x" * 300


def test_plain_text_is_given_at_once():
    cleaner = Cleaner()
    assert [cleaner.feed(piece) for piece in ("One", " two", "\n")] == ["One", " two", "\n"]
