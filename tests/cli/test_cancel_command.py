"""A job of another terminal is ended only after a yes, or by the command itself where nobody can be asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lqmf.store.open import open_store
from tests.cli.conftest import Ran

Run = Callable[..., Ran]
PROGRAM = "import time; print('there', flush=True); time.sleep(60)"


@pytest.fixture
def other(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of another terminal, which the store says drives a job."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    store = open_store("sqlite", home / "mcp", lambda told: None)
    owner = {"owner_pid": process.pid, "owner_started": psutil.Process(process.pid).create_time()}
    store.insert("jobs", {"id": "job-7", "kind": "quantize", "title": "demo as Q4_0", "status": "running", **owner})
    store.close()
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("line", ["undo", "cancel?", "can I cancel?", "don't cancel", "never mind", "cancel\nno"])
def test_no_mere_word_ends_it(run: Run, other: subprocess.Popen[str], line: str) -> None:
    run(stdin=f"{line}\n")
    assert other.poll() is None


def test_a_yes_to_the_question_that_names_job_and_process_ends_it(run: Run, other: subprocess.Popen[str]) -> None:
    ran = run(stdin="cancel\nyes\n")
    assert "demo as Q4_0 (job-7, in " in " ".join(ran.out.split())
    assert f"process {other.pid}" in " ".join(ran.out.split())
    assert other.wait(10) in (-signal.SIGINT, 1, 130)


def test_a_script_that_types_the_command_means_it(run: Run, other: subprocess.Popen[str]) -> None:
    assert run("cancel").out == "Cancelled: demo as Q4_0.\n"
    other.wait(10)


def test_a_sentence_asks_even_where_nobody_answers(run: Run, other: subprocess.Popen[str]) -> None:
    assert run("please stop the job").code == 2
    assert other.poll() is None


def test_what_runs_is_told(run: Run, other: subprocess.Popen[str]) -> None:
    assert "Running: demo as Q4_0 (job-7)" in run("ps").out
    assert other.pid != os.getpid()
