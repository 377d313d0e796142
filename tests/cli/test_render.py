"""Nothing that a terminal would obey reaches it, and JSON stands alone on stdout."""

from __future__ import annotations

import json
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from lqmf.cli.render import Lines, Screen, clean, write

HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07 bell\x07 back\x08 over\rwrite \x9b31m \u202etxt.exe \x7f nul\x00"


@given(st.text())
def test_cleaned_text_holds_no_control_character_but_tab_and_newline(text: str) -> None:
    assert not [c for c in clean(text) if unicodedata.category(c) == "Cc" and c not in "\t\n"]


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"])))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert clean(text) == text


def test_escape_sequences_go_whole_and_direction_marks_too() -> None:
    assert clean(HOSTILE) == "red  bell back overwrite  txt.exe  nul"


def test_a_view_made_from_hostile_text_is_cleaned_as_it_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    Screen().show(table)
    out = capsys.readouterr().out
    assert not [c for c in out if unicodedata.category(c) == "Cc" and c != "\n"]
    assert "red" in out


def test_square_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add_row("[bold]not bold[/bold] [link=http://x]y[/link]")
    Screen().show(table)
    assert "[bold]not bold[/bold] [link=http://x]y[/link]" in capsys.readouterr().out


def test_with_json_people_are_told_on_stderr_and_stdout_keeps_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(json=True)
    screen.show("a plan")
    screen.notice("a notice")
    screen.error("what", "then")
    screen.document({"a": [1]})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": [1]}
    assert all(said in captured.err for said in ("a plan", "a notice", "✗ what", "→ then"))


def test_a_stream_of_answers_is_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(json=True).document(Lines([{"a": 1}, {"b": "é\x9b"}]))
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [{"a": 1}, {"b": "é\x9b"}]
    assert all(line.isascii() for line in lines)


def test_an_error_in_a_transcript_stands_where_it_happened(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(transcript=True).error("It failed.", "Try again.")
    captured = capsys.readouterr()
    assert captured.out == "✗ It failed.\n  → Try again.\n"
    assert captured.err == ""


def test_no_colours_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().error("It failed.", "Try again.")
    assert "\x1b" not in capsys.readouterr().err


def test_a_reader_that_went_away_stops_the_drawing_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        write(stream, "a first line\n")
        write(stream, "a second line\n")
