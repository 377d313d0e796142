"""Starting is cheap: nothing heavy is imported, and what was interrupted is told all the same."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lqmf.cli import interrupted
from lqmf.cli.render import Screen
from lqmf.cli.session import Session
from lqmf.records import Job, ModelRef, QuantizationPlan, to_json
from tests.cli.conftest import Ran

HEAVY = ("torch", "transformers", "llama_cpp", "huggingface_hub", "anthropic", "openai", "google.genai", "pandas")
UNUSED_AT_EXIT = ("pydantic_settings", "sqlite_utils", "prompt_toolkit", "rich", "httpx")


def imported(arguments: list[str], stdin: str, home: Path) -> set[str]:
    """The modules that `lqmf` with these arguments has imported when it ends."""
    code = (
        "import sys; from lqmf.cli import main; sys.argv = ['lqmf', *sys.argv[1:]]\n"
        "try: main.main()\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
        env={"LQMF_HOME": str(home)},
    )
    return set(ran.stderr.split())


def test_the_version_is_told_without_even_typer(home: Path) -> None:
    modules = imported(["--version"], "", home)
    assert not modules & {*HEAVY, *UNUSED_AT_EXIT, "typer", "asyncio", "lqmf.app"}


def test_a_chat_that_is_left_at_once_reads_no_settings_and_no_store(home: Path) -> None:
    assert not imported([], "exit\n", home) & {*HEAVY, *UNUSED_AT_EXIT}


def test_listing_planning_and_understanding_import_nothing_heavy(home: Path) -> None:
    lines = "list\nplan demo\nparse 'quantize gpt2'\nhelp\nexit\n"
    assert not imported([], lines, home) & set(HEAVY)


# ---------------------------------------------------------------- what was interrupted


@pytest.fixture
def left_behind(home: Path) -> None:
    """A job that a killed process was in the middle of."""
    talk = Session(Screen(), {})
    plan = to_json(QuantizationPlan("p", ModelRef("demo", "demo"), None, "gguf", 4, "Q4_0", "gguf", "cpu"))
    job = Job("20260101-000000-abcdef", "quantize", "demo as Q4_0", "running", plan, stage="convert")
    talk.app.memory.start_job(job)
    talk.close()
    with sqlite3.connect(home / "mcp" / "lqmf.db") as database:
        database.execute("UPDATE jobs SET owner_pid = 999999999")


@pytest.mark.usefixtures("left_behind")
def test_the_next_start_says_what_was_interrupted_and_how_to_go_on_and_says_it_once(run: Callable[..., Ran]) -> None:
    told = run(stdin="exit\n").out
    assert "Interrupted: demo as Q4_0, in the stage convert (20260101-000000-abcdef)." in told.replace("\n ", "")
    assert "`resume` goes on" in told
    assert "Interrupted" not in run(stdin="exit\n").out


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("test", "lqmf test m_Q4"),
        ("layers", "lqmf report m_Q4 --layers"),
        ("benchmark", "lqmf benchmark m_Q4"),
        ("rebuild", "lqmf rebuild m_Q4"),
    ],
)
def test_what_resume_does_not_go_on_with_is_told_with_the_command_that_does_it_anew(
    home: Path, run: Callable[..., Ran], kind: str, command: str
) -> None:
    talk = Session(Screen(), {})
    talk.app.memory.start_job(Job("20260101-000000-abcdef", kind, "m_Q4", "running", artifact="m_Q4"))
    talk.close()
    with sqlite3.connect(home / "mcp" / "lqmf.db") as database:
        database.execute("UPDATE jobs SET owner_pid = 999999999")
    told = " ".join(run(stdin="exit\n").out.split())
    assert f"It is done anew: `{command}`." in told
    assert "`resume`" not in told
    error = run("resume", "20260101-000000-abcdef", "--json").document["error"]
    assert error["remedy"] == f"`{command}`"


@pytest.mark.usefixtures("left_behind")
@pytest.mark.parametrize(
    ("config", "environment"),
    [({}, {}), ({"storage_backend": "sqlite"}, {}), ({"mcp_dir": "records"}, {}), ({}, {"MCP_DIR": "x"})],
)
def test_the_first_look_is_never_surer_than_it_may_be(
    home: Path, config: dict[str, str], environment: dict[str, str]
) -> None:
    (home / "config.json").write_text(json.dumps(config))
    assert interrupted.possible(home, {}, environment)


def test_where_nothing_was_done_nothing_can_be_interrupted(home: Path) -> None:
    assert not interrupted.possible(home, {}, {})
    (home / "config.json").write_text("[1, 2")
    assert interrupted.possible(home, {}, {})
