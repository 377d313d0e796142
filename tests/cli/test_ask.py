"""Questions are asked one at a time, of whoever is there, and never answered by accident."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from lqmf.cli.ask import Feed, Nobody, Replayed, Terminal
from lqmf.cli.render import Screen
from lqmf.errors import NeedsInput
from lqmf.operations.asking import Recommended, never_asking
from lqmf.records import Option, Question
from lqmf.understanding.answers import Reply
from tests.commands import lqmf

BITS = Question(
    "type",
    "Which type?",
    (Option("Q4_K_M", "Q4_K_M: small"), Option("Q8_0", "Q8_0: large")),
    "Q4_K_M",
    "It is the usual.",
)
SURE = Question("delete", "Delete it?", (Option(True, "yes"), Option(False, "no")), False, kind="confirm")
TOKEN = Question("hf_token", "Paste your token:", kind="secret", reason="The Hub wants it.")


def ask(asker: object, question: Question) -> Reply:
    return asyncio.run(asker(question))  # type: ignore[operator]


def replayed(*lines: str) -> tuple[Replayed, Feed]:
    feed = Feed(iter(lines))
    return Replayed(Screen(transcript=True), feed), feed


def typed(*lines: str | None) -> Terminal:
    """A person who types `lines`, one after the other; None is Ctrl-C."""
    coming: Iterator[str | None] = iter(lines)

    async def read_line(prompt: str, *, secret: bool) -> str | None:
        return next(coming)

    return Terminal(Screen(), read_line)


# ---------------------------------------------------------------- nobody


def test_where_nobody_can_be_asked_the_question_is_the_error() -> None:
    with pytest.raises(NeedsInput) as error:
        ask(Nobody(Screen()), BITS)
    assert error.value.questions == (BITS,)


@pytest.mark.parametrize(("question", "word"), [(SURE, "--force"), (TOKEN, "terminal"), (BITS, "--yes")])
def test_the_error_says_what_would_have_answered(question: Question, word: str) -> None:
    with pytest.raises(NeedsInput) as error:
        ask(Nobody(Screen()), question)
    assert word in error.value.remedy


# ---------------------------------------------------------------- --yes


def test_yes_takes_the_recommended_answer_to_a_plans_question() -> None:
    assert ask(Recommended(Nobody(Screen())), BITS) == Reply("value", "Q4_K_M")


@pytest.mark.parametrize("question", [SURE, TOKEN, Question("model", "Which model?")])
def test_yes_is_no_answer_to_deleting_logging_in_or_what_has_no_recommendation(question: Question) -> None:
    with pytest.raises(NeedsInput):
        ask(Recommended(Nobody(Screen())), question)


def test_a_command_that_never_asks_takes_defaults_even_at_a_terminal() -> None:
    asker = never_asking(typed("2"))
    assert ask(asker, BITS) == Reply("value", "Q4_K_M")
    with pytest.raises(NeedsInput):
        ask(asker, Question("model", "Which model?"))


# ---------------------------------------------------------------- a replay


@pytest.mark.parametrize(
    ("line", "value"), [("2", "Q8_0"), ("Q8_0", "Q8_0"), ("yes", "Q4_K_M"), ("", "Q4_K_M"), ("q8_0", "Q8_0")]
)
def test_a_question_takes_the_next_line_where_that_answers_it(line: str, value: str) -> None:
    asker, feed = replayed(line, "exit")
    assert ask(asker, BITS) == Reply("value", value)
    assert feed.take() == "exit"


def test_a_line_that_is_no_answer_is_the_next_turn_and_the_question_takes_its_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asker, feed = replayed("test it")
    assert ask(asker, BITS) == Reply("value", "Q4_K_M")
    assert feed.take() == "test it"
    assert "answer [1]> 1\n" in capsys.readouterr().out


def test_a_deletion_is_not_confirmed_by_the_next_turn() -> None:
    asker, feed = replayed("stats")
    assert ask(asker, SURE) == Reply("value", False)
    assert feed.take() == "stats"


def test_without_a_default_a_line_that_is_no_answer_cancels() -> None:
    asker, _ = replayed("what is the weather like in paris today, and will it rain?")
    question = Question("bits", "How many bits?", (Option(4, "4 bits"), Option(8, "8 bits")))
    assert ask(asker, question) == Reply("cancel", None)


def test_the_end_of_the_input_cancels() -> None:
    asker, _ = replayed()
    assert ask(asker, BITS) == Reply("cancel", None)


def test_why_is_answered_and_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    asker, _ = replayed("why?", "2")
    assert ask(asker, BITS) == Reply("value", "Q8_0")
    assert "answer [1]> why?\n  It is the usual.\nanswer [1]> 2\n" in capsys.readouterr().out


def test_a_remark_between_is_no_answer() -> None:
    asker, feed = replayed("# now the large one", "2")
    assert ask(asker, BITS) == Reply("value", "Q8_0")
    assert feed.take() is None


def test_what_is_secret_is_not_echoed(capsys: pytest.CaptureFixture[str]) -> None:
    asker, _ = replayed("hf_abcdefgh")
    assert ask(asker, TOKEN) == Reply("value", "hf_abcdefgh")
    out = capsys.readouterr().out
    assert "hf_abcdefgh" not in out
    assert "answer> ********" in out


# ---------------------------------------------------------------- a terminal


def test_a_person_sees_options_numbered_and_the_recommended_one_marked(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(typed("2"), BITS) == Reply("value", "Q8_0")
    assert capsys.readouterr().out.splitlines() == [
        "? Which type?",
        "  1 Q4_K_M: small  (recommended)",
        "  2 Q8_0: large",
        "· Type a number or a name. Enter takes what is in brackets; `why?` gives the",
        "  reason; `back` and `cancel` work too.",
    ]


def test_how_to_answer_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    person = typed("1", "1")
    ask(person, BITS)
    ask(person, BITS)
    assert capsys.readouterr().out.count("Type a number or a name") == 1


@pytest.mark.parametrize(
    ("line", "reply"), [("", Reply("value", "Q4_K_M")), ("back", Reply("back")), ("cancel", Reply("cancel"))]
)
def test_enter_takes_the_recommended_answer_and_a_person_may_go_back_or_cancel(line: str, reply: Reply) -> None:
    assert ask(typed(line), BITS) == reply


def test_leaving_a_question_cancels_it() -> None:
    assert ask(typed(None), BITS) == Reply("cancel", None)


def test_what_may_be_a_correction_goes_to_the_planner_and_the_hint_comes_when_it_asks_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    person = typed("tell me a joke", "1")
    assert ask(person, BITS) == Reply("other", "tell me a joke")
    capsys.readouterr()
    assert ask(person, BITS) == Reply("value", "Q4_K_M")
    assert "That answers nothing here" in capsys.readouterr().out


def test_a_deletion_is_asked_again_until_it_is_a_yes_or_a_no() -> None:
    assert ask(typed("maybe", "hm", "no"), SURE) == Reply("value", False)
    assert ask(typed("yes"), SURE) == Reply("value", True)
    assert ask(typed(""), SURE) == Reply("value", False)


def test_lines_pasted_at_once_answer_questions_where_they_do() -> None:
    pasted = Feed(iter(()))

    async def read_line(prompt: str, *, secret: bool) -> str | None:
        return "1"

    person = Terminal(Screen(), read_line, pasted)
    pasted.give_back("2", "stats")
    assert ask(person, BITS) == Reply("value", "Q8_0")
    assert ask(person, BITS) == Reply("value", "Q4_K_M")
    assert pasted.take() == "stats"


def test_in_a_replay_too_a_line_may_correct_the_wish(tmp_path: Path) -> None:
    """ "5 bits" is no option of the list, and no new turn either: the list for 5 bits is asked about next."""
    done = lqmf(tmp_path, stdin="plan demo\nquantize demo\n5 bits\ncancel\nexit\n")
    assert "the default was taken" not in done.stdout
    assert "Q5_K_M" in done.stdout.split("5 bits")[-1]
    assert not (tmp_path / "quantized-models").exists()
