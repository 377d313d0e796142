"""The converter's server: loaded once, a process of its own for each request, none left when nobody asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import psutil
import pytest

from lqmf import forks
from lqmf.errors import UnsupportedModel
from lqmf.quantization.gguf.converter import convert, toolchain
from tests.waiting import until

pytestmark = pytest.mark.slow  # the converter runs, or models are made

DEMO = Path(str(resources.files("lqmf").joinpath("assets/demo")))
ASK_FOR_HEADER = """
import sys, tempfile
from pathlib import Path
from lqmf.quantization.gguf.converter import convert, toolchain
with tempfile.TemporaryDirectory() as place:
    convert.write_header(Path(sys.argv[1]), Path(place, "h.gguf"), toolchain.ensure(), scratch=Path(place), name="demo")
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of servers that only this test uses."""
    monkeypatch.delenv(forks.FOLDER_VARIABLE, raising=False)
    yield forks.share()
    for process in servers():
        process.kill()


def servers() -> list[psutil.Process]:
    """The servers of this test's folder that are alive."""
    folder, found = os.environ[forks.FOLDER_VARIABLE], []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if convert.LAUNCHER in command and process.cwd() == folder:
            found.append(process)
    return found


def header(tmp_path: Path, source: Path = DEMO) -> bytes:
    target = tmp_path / "header.gguf"
    convert.write_header(source, target, toolchain.ensure(), scratch=tmp_path, name="demo")
    return target.read_bytes()


def test_it_is_launched_once_for_all_requests_of_a_process_and_of_its_children(folder: Path, tmp_path: Path) -> None:
    header(tmp_path)
    first = servers()
    header(tmp_path)
    subprocess.run([sys.executable, "-c", ASK_FOR_HEADER, str(DEMO)], check=True)
    assert len(first) == 1
    assert servers() == first


def test_the_memory_of_a_server_that_waits_is_told_and_no_other(folder: Path, tmp_path: Path) -> None:
    """It counts as free: a plan after a job must be the plan before it."""
    assert forks.idle_bytes() == 0
    header(tmp_path)
    (process,) = servers()
    assert forks.idle_bytes() == pytest.approx(process.memory_info().rss, rel=0.05)
    process.kill()
    until(lambda: not forks.idle_bytes())


def test_a_refused_request_leaves_the_next_as_it_was(folder: Path, tmp_path: Path) -> None:
    """A fork's own changes to the converter end with it."""
    before = header(tmp_path)
    tools, nothing = toolchain.ensure(), tmp_path / "nothing"
    asked = convert.request(DEMO, nothing, tmp_path / "h.gguf", "f16", tools, tmp_path, "demo")
    with pytest.raises(UnsupportedModel):
        forks.ask(convert.server(tools.root, tmp_path), asked, tmp_path, print, quiet=True)
    assert header(tmp_path) == before


def test_a_request_that_is_killed_is_told_so_and_the_server_answers_the_next(folder: Path, tmp_path: Path) -> None:
    def kill(_message: Mapping[str, Any]) -> None:
        (process,) = servers()
        for fork in process.children():
            fork.kill()

    asked = convert.request(DEMO, DEMO, tmp_path / "h.gguf", "f16", toolchain.ensure(), tmp_path, "demo")
    assert (
        forks.ask(convert.server(toolchain.ensure().root, tmp_path), asked, tmp_path, kill, quiet=True)
        == -signal.SIGKILL
    )
    assert header(tmp_path)


def test_its_work_ends_when_whoever_asked_is_killed_and_it_when_its_owner_is(tmp_path: Path) -> None:
    """Nothing is left of a command that was killed, whatever the converter is busy with."""
    environment = {key: value for key, value in os.environ.items() if key != forks.FOLDER_VARIABLE}
    asker = subprocess.Popen([sys.executable, "-c", ASK_FOR_HEADER, str(DEMO)], env=environment)
    started = psutil.Process(asker.pid)
    until(lambda: any(child.children() for child in started.children()))
    left = started.children(recursive=True)
    asker.kill()
    asker.wait()
    until(lambda: not any(process.is_running() for process in left))
