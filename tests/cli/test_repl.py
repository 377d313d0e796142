"""The chat at a terminal: Ctrl-C and Ctrl-D, several lines at once, completion, history, the bottom line."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.output import DummyOutput

from lqmf import events
from lqmf.cli import repl
from lqmf.cli.ask import Feed
from lqmf.cli.completion import ChatCompleter, candidates
from lqmf.cli.outcome import Outcome
from lqmf.cli.progress import folded
from lqmf.cli.render import Screen
from lqmf.cli.session import Session
from lqmf.cli.toolbar import Toolbar
from lqmf.knowledge.passages import passages
from lqmf.records import Decision, Question

CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"
PASTE = "\x1b[200~{}\x1b[201~"


@pytest.fixture
def chat(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[int, str]]:
    """Type keys into a chat; gives the exit code and what was printed."""

    def type_keys(keys: str) -> tuple[int, str]:
        capsys.readouterr()
        with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
            pipe.send_text(keys)
            code = asyncio.run(asyncio.wait_for(repl.chat({}), 60))
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return type_keys


Chat = Callable[[str], tuple[int, str]]


def test_ctrl_d_leaves(chat: Chat) -> None:
    code, told = chat(CTRL_D)
    assert code == 0
    assert told.startswith("LQMF ")


def test_exit_leaves_and_so_does_a_farewell(chat: Chat) -> None:
    assert chat("exit" + ENTER)[0] == 0
    assert chat("bye" + ENTER)[0] == 0


def test_a_first_ctrl_c_clears_the_line_and_a_second_says_how_to_leave(chat: Chat) -> None:
    assert "Ctrl-D leaves.\n" not in chat("stats" + CTRL_C + CTRL_D)[1].split("\n", 1)[1]
    told = chat("stats" + CTRL_C + CTRL_C + CTRL_D)[1]
    assert "· Ctrl-D leaves." in told
    assert "Nothing was done yet" not in told


def test_a_greeting_is_greeted_and_told_what_may_be_said(chat: Chat) -> None:
    told = chat("Hello!" + ENTER + CTRL_D)[1]
    assert "Hello. Say what to do" in told
    assert "not understand" not in told


def test_a_turn_that_fails_does_not_end_the_chat(chat: Chat) -> None:
    code, told = chat("verify nothing" + ENTER + "stats" + ENTER + CTRL_D)
    assert code == 0
    assert "There is no artifact" in told
    assert "Nothing was done yet" in told


def test_lines_pasted_at_once_are_turns_of_their_own_and_answer_questions(chat: Chat) -> None:
    told = chat(PASTE.format("quantize demo\ncancel\nyes\nstats") + ENTER + CTRL_D)[1]
    order = ["lqmf> quantize demo", "answer [1]> cancel", "lqmf> yes", "Nothing was asked", "lqmf> stats"]
    positions = [told.index(said) for said in order]
    assert positions == sorted(positions)


def test_a_question_is_answered_at_its_own_prompt(chat: Chat) -> None:
    told = chat("quantize demo" + ENTER + "why?" + ENTER + CTRL_C + "stats" + ENTER + CTRL_D)[1]
    assert "type?" in told
    assert "the smallest type with little loss" in told
    assert "Cancelled; nothing was changed." in told


def test_looking_at_what_can_be_tested_tests_nothing(chat: Chat, make_artifact: Callable[..., Path]) -> None:
    make_artifact("demo_gguf_4bit_Q4_K_M")
    told = chat("test list" + ENTER + ENTER + CTRL_D)[1]
    order = ["made", "2026-01-04", "Test one of them?", "Nothing was tested."]
    positions = [told.index(said) for said in order]
    assert positions == sorted(positions)


def test_what_was_typed_is_kept_for_the_next_chat_readable_by_its_owner_alone(chat: Chat, home: Path) -> None:
    chat("stats" + ENTER + CTRL_D)
    file = home / "mcp" / repl.HISTORY
    assert "+stats" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_a_workspace_that_cannot_be_written_still_gives_a_chat(home: Path, chat: Chat) -> None:
    (home / "mcp").write_text("a file where a folder should be")
    assert chat("help" + ENTER + CTRL_D)[0] == 0


def typed_ahead(pipe: PipeInput) -> list[KeyPress]:
    """What was typed and not yet read; it is left there."""
    keys = get_typeahead(pipe)
    store_typeahead(pipe, keys)
    return keys


@pytest.mark.parametrize(("kind", "kept"), [("confirm", 0), ("secret", 0), ("plan", 3)])
def test_a_yes_typed_ahead_answers_no_question_that_matters(kind: Any, kept: int) -> None:
    left = []

    async def nobody_answers(prompt: str, *, secret: bool) -> str | None:
        left.append(len(typed_ahead(pipe)))
        return None

    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        store_typeahead(pipe, [KeyPress(key) for key in "yes"])
        asyncio.run(repl.Person(Screen(), nobody_answers)(Question("q", "Delete it?", kind=kind)))
    assert left == [kept]


def test_what_is_typed_while_a_job_runs_is_the_next_turn_and_no_yes_to_a_proposal(
    talk: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proposal stands: a yes that knows of it is its answer."""
    real = talk.line

    async def line(text: str) -> Outcome:
        store_typeahead(pipe, [KeyPress(key) for key in "yes"])
        talk.app.bus.publish(events.JobStarted(job="job-1", kind="test", title="demo"))
        talk.app.understanding.note_proposed(Decision("quantize", {"model": "demo"}))
        return Outcome(None)

    monkeypatch.setattr(talk, "line", line)
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        asyncio.run(repl._turns(talk, Feed(iter(["stats"]))))
        assert len(typed_ahead(pipe)) == 3
        told = [asyncio.run(real(said)) for said in ("yes", "no")]
    assert "typed before" in told[0].data["text"]
    assert told[1].data["text"] == "Nothing is done."


@pytest.mark.skipif(sys.platform == "win32", reason="has no terminals of this kind")
def test_what_waits_at_the_terminal_is_dropped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    person, terminal = os.openpty()
    with create_pipe_input() as pipe, create_app_session(input=pipe), os.fdopen(terminal) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        os.write(person, b"yes\n")
        assert select.select([terminal], [], [], 5)[0]
        assert repl.is_typed_ahead()
        repl.forget_typed()
        assert not repl.is_typed_ahead()
        assert not select.select([terminal], [], [], 0)[0]
    os.close(person)


# ---------------------------------------------------------------- completion and the bottom line


@pytest.fixture
def talk(home: Path, make_artifact: Callable[..., Path]) -> Session:
    make_artifact("demo_gguf_4bit_Q4_K_M")
    return Session(Screen(), {})


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("qu", "quantize"),
        ("config s", "set"),
        ("quantize demo --dev", "--device"),
        ("quantize demo --type q5_k", "Q5_K_M"),
        ("test demo_g", "demo_gguf_4bit_Q4_K_M"),
        ("show me de", "demo_gguf_4bit_Q4_K_M"),
        ("quantize demo to iq4", "IQ4_XS"),
        ("quantize org/", "org/m"),
        ("config get log", "log_level"),
        ("config set ", "max_retries"),
        ("help qu", "quantize"),
    ],
)
def test_tab_offers_commands_options_artifacts_models_and_types(talk: Session, before: str, expected: str) -> None:
    assert expected in offered(talk, before)


def offered(talk: Session, before: str) -> list[str]:
    return [c.text for c in ChatCompleter(talk).get_completions(Document(before), None)]  # type: ignore[arg-type]


def test_tab_offers_folders_and_weights_of_a_path_that_is_begun(
    talk: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my-model", "my-other", ".hidden", "your-model"):
        (tmp_path / "at" / name).mkdir(parents=True)
    (tmp_path / "at" / "my.gguf").write_bytes(b"")
    (tmp_path / "at" / "my.txt").write_bytes(b"")
    assert offered(talk, "quantize ./at/my") == ["./at/my-model/", "./at/my-other/", "./at/my.gguf"]
    assert offered(talk, f"quantize {tmp_path}/at/y") == [f"{tmp_path}/at/your-model/"]
    assert offered(talk, "quantize ./at/") == ["./at/my-model/", "./at/my-other/", "./at/my.gguf", "./at/your-model/"]
    assert offered(talk, "quantize ./nowhere/") == []


def test_tab_offers_topics_and_the_usual_type_first(talk: Session) -> None:
    assert offered(talk, "explain ")[:1] == [passages()[0].words[0]]
    types = offered(talk, "quantize demo --type ")
    assert types[0] == "Q4_K_M"
    assert types.index("Q4_K_M") < types.index("nf4")


def test_tab_offers_nothing_that_does_not_begin_like_the_word(talk: Session) -> None:
    assert all(name.lower().startswith("q") for name in candidates([], "q", talk))


@pytest.mark.parametrize(
    ("shape", "width", "rows"), [((80, 2), 80, 2), ((80, 2), 120, 2), ((80, 2), 79, 4), ((80, 3), 26, 12)]
)
def test_bars_know_the_rows_that_they_take_after_a_resize(shape: tuple[int, int], width: int, rows: int) -> None:
    assert folded(shape, width)[1] == rows


def test_the_bottom_line_shows_device_free_memory_and_the_last_job(talk: Session) -> None:
    from lqmf.records import Job

    assert "free" in Toolbar(talk)()
    talk.app.memory.start_job(Job("j1", "quantize", "demo as \x1b[31mQ8_0", "done"))
    assert Toolbar(talk)().endswith(" · last job: demo as Q8_0, done ")


ASIDES = {
    "help": "Or type a command",
    "explain gptq": "GPTQ quantizes a model layer by layer",
    "why not 2?": "Sources:",
    "what is the difference between 1 and 2?": "Sources:",
    "list": "Nothing was done yet",
    "/stats": "Nothing was done yet",
    "config get log_level": "log_level",
}


@pytest.mark.parametrize("line", ASIDES)
def test_at_a_question_one_may_ask_or_type_a_command_and_the_question_comes_again(chat: Chat, line: str) -> None:
    told = chat("quantize demo" + ENTER + line + ENTER + CTRL_C + CTRL_D)[1]
    _, told_aside, after = told.partition("type?")[2].partition(ASIDES[line])
    assert told_aside
    assert "type?" in after
    assert "Cancelled; nothing was changed." in after


def test_a_wish_at_a_question_changes_it_and_the_types_near_it_are_offered(chat: Chat) -> None:
    told = chat("quantize demo" + ENTER + "Q4" + ENTER + CTRL_C + CTRL_D)[1]
    offered = told.rpartition("type?")[2]
    assert "  4 " in offered
    assert "  5 " not in offered


def test_a_secret_in_a_line_is_masked_in_the_history_and_warned_of(chat: Chat, home: Path) -> None:
    told = chat("my token is hf_AbCdEfGhIjKlMnOpQr" + ENTER + CTRL_D)[1]
    assert "holds a secret" in told
    kept = (home / "mcp" / repl.HISTORY).read_text()
    assert "my token is" in kept
    assert "hf_AbCd" not in kept
