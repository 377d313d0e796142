"""An interrupted stream goes on where it was, and ends in the same bytes as one that ran through."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lqmf import forks
from lqmf.errors import DiskFull, LqmfError, OutOfMemory
from lqmf.events import Event, Progress
from lqmf.model_files.gguf_header import read_header
from lqmf.quantization.gguf.stream import pipeline
from lqmf.quantization.gguf.stream.journal import Journal, Line
from lqmf.quantization.gguf.stream.pipeline import Output, journal_of
from tests.quantization import models
from tests.quantization.models import FAMILIES
from tests.quantization.test_gguf_stream import DEMO, random_model, streamed
from tests.waiting import until

pytestmark = pytest.mark.slow  # the converter runs, or models are made

TYPES = ("Q4_K_M", "IQ3_S", "F16")
WEIGHTS = 74  # tensors of the demo model
KILLS = 8


def outputs(folder: Path) -> list[Output]:
    return [Output(folder / f"{type}.gguf", type) for type in TYPES]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module", autouse=True)
def own_server() -> Iterator[None]:
    """A converter's server of this file's own, a child of this process: what is killed here serves no other test."""
    shared = os.environ.pop(forks.FOLDER_VARIABLE, None)
    forks.share()
    yield
    if shared is not None:
        os.environ[forks.FOLDER_VARIABLE] = shared


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run without interruption writes."""
    folder = tmp_path_factory.mktemp("whole")
    streamed(DEMO, outputs(folder / "out"), folder / "scratch", "demo")
    return contents(folder / "out")


class Killer:
    """Kills the child, as a listener to its events, once the journal in `folder` has so many lines about tensors."""

    def __init__(self, folder: Path, lines: int) -> None:
        self._journal, self._lines, self._started = journal_of(folder / f"{TYPES[0]}.gguf"), lines, False

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress) and not self._started:
            self._started = True
            threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        until(self._journal.exists)
        until(lambda: not self._journal.exists() or self._journal.read_bytes().count(b"\n") > self._lines)
        until(lambda: kill() or not self._journal.exists())


def kill() -> bool:
    """Kill what the converter's server started, at once; the server stays. Tells whether there was anything."""
    found: list[str] = []
    for file in Path(os.environ[forks.FOLDER_VARIABLE]).glob("*.pid"):
        server = file.read_text(encoding="ascii")
        with contextlib.suppress(OSError):  # it ended meanwhile
            found += Path(f"/proc/{server}/task/{server}/children").read_text(encoding="ascii").split()
    for fork in found:
        with contextlib.suppress(OSError):
            os.kill(int(fork), signal.SIGKILL)
    return bool(found)


def journalled(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal after its first."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[1:-1]]


def finished(path: Path) -> int:
    """How many tensors the journal calls done in every output."""
    done = {(line["output"], line["name"]) for line in journalled(path)}
    return sum(count == len(TYPES) for count in Counter(name for _, name in done).values())


def tear_journal(folder: Path) -> None:
    """Half of the journal's last line never reached the disk."""
    journal = journal_of(folder / f"{TYPES[0]}.gguf")
    os.truncate(journal, journal.stat().st_size - 20)


def tear_data(folder: Path) -> None:
    """The last 4 KB that were written of each file did not survive, and one ends before; the journal is whole."""
    journal = journal_of(folder / f"{TYPES[0]}.gguf")
    for place, type in enumerate(TYPES):
        ends = [line["offset"] + line["size"] for line in journalled(journal) if line["output"] == place]
        with (folder / f"{type}.gguf.part").open("r+b") as file:
            file.seek(max(ends) - 4096)
            file.write(os.urandom(4096))
    os.truncate(folder / f"{TYPES[1]}.gguf.part", max(ends) // 4)


def test_killed_at_random_points_it_goes_on_and_ends_in_the_same_bytes(whole: dict[str, bytes], tmp_path: Path) -> None:
    """Killed again and again, with the journal and the data torn as well; what is proven is never made again."""
    out, journal = tmp_path / "out", journal_of(tmp_path / "out" / f"{TYPES[0]}.gguf")
    chance, known = random.Random(11), 0
    for point in sorted(chance.sample(range(5, 110), KILLS)):
        with pytest.raises(OutOfMemory):
            streamed(DEMO, outputs(out), tmp_path / "scratch", "demo", emit=Killer(out, point), threads=1)
        assert not (out / "Q4_K_M.gguf").exists(), "a file has its name only when it is whole"
        assert max(Counter((line["output"], line["name"]) for line in journalled(journal)).values()) == 1
        assert finished(journal) >= known
        tear_journal(out)
        known = finished(journal)
    tear_data(out)
    seen: list[Event] = []
    made = streamed(DEMO, outputs(out), tmp_path / "scratch", "demo", emit=seen.append)
    assert 0 < made.kept_tensors < known
    assert made.tensors == WEIGHTS
    assert next(event for event in seen if isinstance(event, Progress) and event.total).done > 0
    assert contents(out) == whole


def test_a_full_disk_is_called_that_and_what_is_done_stays(whole: dict[str, bytes], tmp_path: Path) -> None:
    """A limit on the size of a file stands for the full disk: the system refuses the write in the same way."""
    out, types = tmp_path / "out", [Output(tmp_path / "out" / "F16.gguf", "F16")]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole["F16.gguf"]) * 2 // 3, before[1]))
    try:
        with pytest.raises(DiskFull) as caught:
            streamed(DEMO, types, tmp_path / "scratch", "demo")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "lqmf disk" in caught.value.remedy
    made = streamed(DEMO, types, tmp_path / "scratch", "demo")
    assert 0 < made.kept_tensors < WEIGHTS
    assert contents(out) == {"F16.gguf": whole["F16.gguf"]}


# ---------------------------------------------------------------- weights that arrive, and are dropped


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    (folder / "tokenizer").mkdir()
    models._TOKENIZERS["sentencepiece"](folder / "tokenizer")
    return random_model(FAMILIES["llama"], folder / "model", folder / "tokenizer", max_shard_size="1MB")


def skeleton(model: Path, folder: Path) -> Path:
    """The model with holes where the weights are."""
    folder.mkdir()
    for path in model.iterdir():
        data = path.read_bytes()
        if path.suffix == ".safetensors":
            (folder / path.name).write_bytes(data[: 8 + int.from_bytes(data[:8], "little")])
            os.truncate(folder / path.name, len(data))
        else:
            (folder / path.name).write_bytes(data)
    return folder


def arrive(model: Path, weights: Path, names: list[str]) -> None:
    for name in names:
        (weights / f"{name}.incomplete").write_bytes((model / name).read_bytes())
        os.replace(weights / f"{name}.incomplete", weights / name)


def test_weights_are_taken_as_they_arrive_and_dropped_when_they_are_done(sharded: Path, tmp_path: Path) -> None:
    """Killed while it waits for more, it needs nothing again that it has dropped."""
    shards = sorted(path.name for path in sharded.glob("*.safetensors"))
    assert len(shards) >= 3
    streamed(sharded, [Output(tmp_path / "whole.gguf", "Q4_K_M")], tmp_path / "scratch", "m")
    source, weights = skeleton(sharded, tmp_path / "source"), tmp_path / "weights"
    weights.mkdir()
    arrive(sharded, weights, shards[:1])
    ours = [Output(tmp_path / "ours.gguf", "Q4_K_M")]
    used = tmp_path / "used"
    used.mkdir()
    options = {"weights": [tmp_path / "elsewhere", weights], "discard": True, "used": used, "identity": "m@1"}

    def waits(event: Event) -> None:
        if isinstance(event, Progress) and event.note.startswith("waiting for") and not list(weights.iterdir()):
            kill()

    with pytest.raises(LqmfError):
        streamed(source, ours, tmp_path / "scratch", "m", emit=waits, **options)
    later = threading.Timer(1.0, arrive, (sharded, weights, shards[1:]))
    later.start()
    made = streamed(source, ours, tmp_path / "scratch", "m", **options)
    later.join()
    assert made.kept_tensors > 0
    assert list(weights.iterdir()) == []
    assert sorted(path.name for path in used.iterdir()) == shards
    assert (tmp_path / "ours.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()
    assert read_header(tmp_path / "ours.gguf").missing_bytes == 0


# ---------------------------------------------------------------- the journal by itself


def line(name: str) -> Line:
    return Line(0, name, 12, 64, 1024, "00" * 16)


@pytest.mark.parametrize("lost", range(0, 140, 7))
def test_a_journal_cut_anywhere_keeps_its_whole_lines_and_goes_on(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, "job")
    journal.append([line("a"), line("b")])
    journal.close()
    whole = path.read_bytes()
    os.truncate(path, len(whole) - lost)
    kept = whole[: len(whole) - lost].count(b"\n") - 1
    again = Journal(path, "job")
    assert sorted(name for _, name in again.lines) == ["a", "b"][:kept]
    again.append([line("c")])
    again.close()
    assert sorted(name for _, name in Journal(path, "job").lines) == [*["a", "b"][:kept], "c"]


def test_a_journal_of_another_job_is_begun_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "job")
    journal.append([line("a")])
    journal.close()
    assert Journal(tmp_path / "journal", "another").lines == {}
    assert Journal(tmp_path / "journal", "job").lines == {}


def test_garbage_at_the_end_of_a_journal_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, "job")
    journal.append([line("a")])
    journal.close()
    with path.open("ab") as file:
        file.write(bytes(4096) + b"\n{}\n")
    assert [name for _, name in Journal(path, "job").lines] == ["a"]


def test_where_the_journal_lies_is_beside_the_first_output() -> None:
    assert pipeline.journal_of(Path("/x/m-Q4_K_M.gguf")) == Path("/x/.m-Q4_K_M.gguf.journal")
