"""Whole conversations, typed again: the same answers, line by line, but for figures, dates and places."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lqmf.workspace import CACHE_VARIABLE, cache_dir
from tests.commands import here, lqmf

EXAMPLES = Path(__file__).parents[2] / "examples"
TYPED = re.compile(r"^(?:lqmf|answer(?: \[[^\]]*\])?)> ?(.*)$")
SLOW = {"first-steps"}  # which quantizes and measures
CODES = {"misunderstandings": 1}


@pytest.fixture
def place() -> Iterator[Path]:
    """A workspace whose path is equally long everywhere: it is part of the transcript, and lines are folded."""
    folder = Path(tempfile.mkdtemp(prefix="lq", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def uncalibrated(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine whose speed nobody has measured, wherever this runs: all else is kept."""
    for kept in ("toolchain", "pretokenizers", "needs"):
        (cache_dir() / kept).mkdir(parents=True, exist_ok=True)
        (tmp_path / kept).symlink_to(cache_dir() / kept)
    return {CACHE_VARIABLE: str(tmp_path)}


def typed(transcript: str) -> str:
    """What was typed in a transcript."""
    return "".join(f"{found[1]}\n" for line in transcript.splitlines() if (found := TYPED.match(line)))


def comparable(text: str, place: str = "/tmp/lq[a-z0-9_]{8}") -> list[str]:
    """Lines without what differs from run to run: figures, dates, places, what a model said, widths of tables."""
    text = re.sub(place, "WORKSPACE", text)
    text = re.sub(r"\d{8}-\d{6}-[0-9a-f]{6}", "JOB", text)
    text = re.sub(r"\d+ (?:min|h) \d+ (?:s|min)\b", "0 s", text)
    text = re.sub(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?: (?:B|KB|MB|GB|TB|s|ms|min|h)\b)?(?![\w])", "#", text)
    text = re.sub(r"(?m)^  > .*\n(?:^    \S.*\n)*", "", text)
    text = text.replace(" ★", "").replace(" ≈", "")  # marks that hang on figures
    text = re.sub(r"(?m)^.*(?:CPU in use|the processor).*\n", "", text)
    text = re.sub(r"(?m)^· Other programs .*\n", "", text)  # nor what else ran on the machine
    text = text.replace(" beside what else runs on this machine now", "")
    text = re.sub(r"(?m)^(│  (?:writing|reading|first token|loading) ).*$", r"\1", text)
    text = re.sub(r"(?m)^│  predicted .*\n(?:^│   .*\S.* │\n)*", "│ predicted\n", text)  # what was missed varies
    return [re.sub(r"(.)\1{3,}|\s+", lambda m: m[1] or " ", line).strip() for line in text.splitlines()]


NAMES = sorted(path.stem for path in EXAMPLES.glob("*.txt"))


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES])
def test_a_transcript_is_answered_as_it_was(name: str, place: Path, uncalibrated: dict[str, str]) -> None:
    path = EXAMPLES / f"{name}.txt"
    before = path.read_text(encoding="utf-8")
    ran = here(place, stdin=typed(before), env={"COLUMNS": "120", **uncalibrated})
    if os.environ.get("LQMF_RECORD"):
        path.write_text(ran.stdout, encoding="utf-8")
        return
    assert comparable(ran.stdout) == comparable(before)
    assert "Traceback" not in ran.stderr
    assert ran.returncode == CODES.get(name, 0)


def test_what_is_compared_is_more_than_nothing() -> None:
    assert len(NAMES) >= 4
    assert comparable("Made demo_gguf_4bit_Q4_K_M, 4.8 MB") != comparable("Made demo_gguf_8bit_Q8_0, 4.8 MB")
    assert comparable("took 12.5 s") == comparable("took 3 min 05 s")


def test_the_same_lines_give_the_same_transcript_twice(place: Path) -> None:
    lines = "help\nquantize\norg/../../etc\ndelete it\nyes\nwhat is GPTQ?\nplan demo --bits 8\nexit\n"
    first, second = (lqmf(place, stdin=lines).stdout for _ in range(2))
    assert comparable(first) == comparable(second)


def test_each_line_is_echoed_after_its_prompt(place: Path) -> None:
    told = here(place, stdin="stats\n\n# a remark\nno\nexit\nstats\n")
    assert [line for line in told.stdout.splitlines() if line.startswith("lqmf>")] == [
        "lqmf> stats",
        "lqmf> # a remark",
        "lqmf> no",
        "lqmf> exit",
    ]
    assert told.returncode == 0


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("exit", 0),
        ("", 0),
        ("yes", 0),  # an answer to nothing is a notice
        ("delete nothing-like-it\nexit\n", 1),
        ("xyzzy plugh\nstats\nexit\n", 1),
        ("quantize demo\ncancel\nexit\n", 0),  # neither a cancel ..
        ("quantize demo\n", 0),  # .. nor the end of the input is a failure
        ("serve it\nexit\n", 1),
    ],
)
def test_the_exit_code_says_whether_a_turn_failed(place: Path, lines: str, code: int) -> None:
    told = here(place, stdin=lines)
    assert told.returncode == code, told.stdout


def test_a_sentence_may_follow_a_typed_command(place: Path) -> None:
    told = here(place, stdin="config get log_level\nset it to debug\nconfig get log_level\nexit\n")
    assert told.returncode == 0
    assert "✓ log_level is debug in" in told.stdout
    assert "log_level   debug   config.json" in told.stdout


def test_control_characters_typed_are_not_echoed_raw(place: Path) -> None:
    told = lqmf(place, stdin="quantize \x1b[31mred\x07 \x9b5m\nexit\n")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", told.stdout + told.stderr)
