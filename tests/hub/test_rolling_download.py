"""A model that shall not stay: in order, few shards on the disk at a time, and no byte asked for again."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from lqmf.errors import DiskFull, IntegrityError, RateLimited, UnsafeFormat
from lqmf.events import Event, Notice, Progress
from lqmf.hub import rolling_download, snapshots
from lqmf.hub.client import HubClient
from lqmf.hub.download import (
    TransferOptions,
    clean_orphans,
    fetch,
    fetch_passing,
    find_local,
    forget_passing,
    missing_bytes,
    passing_bytes,
)
from lqmf.hub.metadata import inspect
from lqmf.records import ModelInfo, ModelRef, RemoteFile
from tests.hub.conftest import QUICK
from tests.hub.models import sharded_demo
from tests.hub.server import LocalHub

ORG = ModelRef("hub", "org/name")
SHARDS = 5
OPTIONS = TransferOptions(connections=2, chunk_bytes=1 << 20, journal_bytes=64 << 10, retry=QUICK)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sharded_demo(tmp_path_factory.mktemp("source"), SHARDS)


@pytest.fixture
def info(hub: LocalHub, client: HubClient, source: Path) -> ModelInfo:
    hub.add_repo("org/name", source)
    described = asyncio.run(inspect(ORG, hub=client))
    hub.requests.clear()
    return described


@pytest.fixture
def used(tmp_path: Path) -> Path:
    folder = tmp_path / "used"
    folder.mkdir()
    return folder


@dataclasses.dataclass
class Reader:
    """Reads each shard when it is there, slowly, then marks and removes it; counts what lies there all the while."""

    info: ModelInfo
    models_dir: Path
    source: Path
    used: Path
    shards: int = SHARDS  # so many, then it stops
    begin_at: int = 0  # not before so many lie there
    seconds: float = 0.05
    most: int = 0
    right: list[bool] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = snapshots.partial_folder(self.models_dir, self.info)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Reader:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def read_all(self, shards: int) -> bool:
        """Wait until so many were read; whether all of them had the right bytes."""
        deadline = time.monotonic() + 30
        while len(self.right) < shards and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.right == [True] * shards

    def _read(self) -> None:
        while self.most < self.begin_at and not self.stop.is_set():
            self._count()
        for shard in snapshots.shards(self.info)[: self.shards]:
            if (self.used / shard.path).exists():
                continue
            path = self.folder / shard.path
            while not path.exists() and not self.stop.is_set():
                self._count()
            if not path.exists():
                return
            self._wait()
            self.right.append(path.read_bytes() == (self.source / shard.path).read_bytes())
            (self.used / shard.path).touch()
            path.unlink()
        while not self.stop.is_set():
            self._count()

    def _wait(self) -> None:
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            self._count()

    def _count(self) -> None:
        lying = {f.path for f in snapshots.shards(self.info) if any(self.folder.glob(f.path + "*"))}
        self.most = max(self.most, len({path for path in lying if not (self.used / path).exists()}))
        time.sleep(0.002)


def get(
    info: ModelInfo,
    models_dir: Path,
    used: Path,
    client: HubClient,
    events: list[Event] | None = None,
    ahead: int = rolling_download.AHEAD,
) -> Path:
    emit = (lambda _: None) if events is None else events.append
    return asyncio.run(fetch_passing(info, models_dir, used, hub=client, emit=emit, options=OPTIONS, ahead=ahead))


async def stopped_when_two_are_used(info: ModelInfo, models_dir: Path, used: Path, client: HubClient) -> None:
    task = asyncio.create_task(fetch_passing(info, models_dir, used, hub=client, emit=lambda _: None, options=OPTIONS))
    while len(list(used.iterdir())) < 2:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def asked(hub: LocalHub) -> set[str]:
    """The shards that the server was asked for in any way."""
    return {Path(r.path).name for r in hub.requests if r.path.endswith(".safetensors")}


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_never_more_unused_shards_lie_on_the_disk_than_allowed(
    hub: LocalHub, info: ModelInfo, models_dir: Path, used: Path, client: HubClient, source: Path, ahead: int
) -> None:
    events: list[Event] = []
    with Reader(info, models_dir, source, used, begin_at=ahead) as reader:
        folder = get(info, models_dir, used, client, events, ahead)
        assert reader.read_all(SHARDS)
    assert reader.most == ahead
    assert folder == snapshots.partial_folder(models_dir, info)
    small = {f.path for f in info.files if f not in snapshots.shards(info)}
    assert {path.name for path in folder.iterdir()} == small
    assert snapshots.present(info, models_dir) is None
    assert find_local(ORG, models_dir) is None
    done = [e.done for e in events if isinstance(e, Progress)]
    assert done == sorted(done)
    assert done[-1] == sum(f.size_bytes for f in info.files)
    forget_passing(info, models_dir)
    assert not folder.exists()
    forget_passing(info, models_dir)


def test_a_reader_that_is_slow_is_waited_for_and_nothing_more_is_asked_meanwhile(
    hub: LocalHub, info: ModelInfo, models_dir: Path, used: Path, client: HubClient
) -> None:
    async def waiting() -> None:
        call = fetch_passing(info, models_dir, used, hub=client, emit=lambda _: None, options=OPTIONS)
        task = asyncio.create_task(call)
        second = snapshots.partial_folder(models_dir, info) / snapshots.shards(info)[1].path
        while not second.exists():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.4)
        assert await asyncio.to_thread(clean_orphans, models_dir, older_than_days=-1) == 0, "it is in use"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(waiting())
    assert asked(hub) == {f.path for f in snapshots.shards(info)[:2]}


def test_what_was_used_is_not_asked_for_again_and_what_lies_there_is_kept(
    hub: LocalHub, info: ModelInfo, models_dir: Path, used: Path, client: HubClient, source: Path
) -> None:
    hub.fail("/cdn/*00004-of-*", "slow", times=99, bytes_per_second=500_000)
    with Reader(info, models_dir, source, used, shards=2):
        asyncio.run(stopped_when_two_are_used(info, models_dir, used, client))
    hub._faults.clear()
    first, second, *rest = (f.path for f in snapshots.shards(info))
    proven = {f.path: snapshots.have(snapshots.partial_folder(models_dir, info) / f.path, f) for f in info.files}
    hub.requests.clear()
    with Reader(info, models_dir, source, used) as reader:
        get(info, models_dir, used, client)
        assert reader.read_all(SHARDS - 2)
    assert reader.most <= 2
    assert not {first, second} & asked(hub)
    assert set(rest[1:]) <= asked(hub)
    sent = sum(r.sent for r in hub.requests if r.cdn and r.path.endswith(".safetensors"))
    sizes = {f.path: f.size_bytes for f in info.files}
    assert sent == sum(sizes[path] - proven[path] for path in rest)


def test_a_shard_whose_reader_was_killed_after_the_mark_is_removed(
    hub: LocalHub, info: ModelInfo, models_dir: Path, used: Path, client: HubClient, source: Path
) -> None:
    folder = snapshots.partial_folder(models_dir, info)
    folder.mkdir(parents=True)
    for shard in snapshots.shards(info):
        (used / shard.path).touch()
    first = snapshots.shards(info)[0].path
    (folder / first).write_bytes((source / first).read_bytes())
    assert get(info, models_dir, used, client) == folder
    assert asked(hub) == set()
    assert list(folder.glob("*.safetensors")) == []
    assert (folder / "config.json").exists()


def test_shards_that_lie_there_whole_are_not_fetched_again_and_count(
    hub: LocalHub, info: ModelInfo, models_dir: Path, used: Path, client: HubClient, source: Path
) -> None:
    folder = snapshots.partial_folder(models_dir, info)
    folder.mkdir(parents=True)
    for shard in snapshots.shards(info)[:3]:
        (folder / shard.path).write_bytes((source / shard.path).read_bytes())
    with Reader(info, models_dir, source, used) as reader:
        get(info, models_dir, used, client)
        assert reader.read_all(SHARDS)
    assert reader.most == 3
    assert asked(hub) == {f.path for f in snapshots.shards(info)[3:]}


def test_a_model_that_is_here_is_used_in_place_and_never_emptied(
    hub: LocalHub, info: ModelInfo, models_dir: Path, used: Path, client: HubClient, hf_home: Path
) -> None:
    from huggingface_hub import snapshot_download

    cached = Path(snapshot_download("org/name", cache_dir=hf_home / "hub", endpoint=hub.url, token=False))
    hub.requests.clear()
    assert passing_bytes(info, models_dir, used) == 0
    assert get(info, models_dir, used, client) == cached
    forget_passing(info, models_dir)
    assert hub.requests == []
    assert all((cached / f.path).exists() for f in info.files)


def test_shards_of_another_commit_pass_as_links_and_that_commit_stays_whole(
    hub: LocalHub, info: ModelInfo, models_dir: Path, used: Path, client: HubClient, source: Path
) -> None:
    old = asyncio.run(fetch(info, models_dir, hub=client, emit=lambda _: None, options=OPTIONS))
    hub.add_repo("org/name", {p.name: p.read_bytes() for p in source.iterdir()} | {"LICENSE": b"new"})
    new = asyncio.run(inspect(ORG, hub=client))
    hub.requests.clear()
    with Reader(new, models_dir, source, used) as reader:
        get(new, models_dir, used, client)
        assert reader.read_all(SHARDS)
    assert asked(hub) == set()
    assert all((old / f.path).read_bytes() == (source / f.path).read_bytes() for f in snapshots.shards(info))
    assert snapshots.present(info, models_dir) == old


# ------------------------------------------------------------ faults


def test_cuts_and_wrong_bytes_heal_and_are_told(
    hub: LocalHub, info: ModelInfo, models_dir: Path, used: Path, client: HubClient, source: Path
) -> None:
    hub.fail("/cdn/*00002-of-*", "cut", after=100_000)
    hub.fail("/cdn/*00003-of-*", "corrupt")
    hub.fail("/cdn/*00004-of-*", "status", status=429, headers={"retry_after": "0"})
    events: list[Event] = []
    with Reader(info, models_dir, source, used) as reader:
        get(info, models_dir, used, client, events)
        assert reader.read_all(SHARDS)
    assert reader.most <= 2
    told = " ".join(e.text for e in events if isinstance(e, Notice))
    assert all(part in told for part in ("00002-of-00005", "wrong bytes", "(429)"))


@pytest.mark.parametrize(
    ("kind", "times", "error"), [("corrupt", 2, IntegrityError), ("status", 1 + QUICK.max_retries, RateLimited)]
)
def test_a_shard_that_cannot_be_fetched_ends_it_and_the_ones_before_stay(
    hub: LocalHub, info: ModelInfo, models_dir: Path, used: Path, client: HubClient, kind: str, times: int, error: type
) -> None:
    hub.fail("/cdn/*00002-of-*", kind, times=times, status=429, headers={"retry_after": "0"})
    with pytest.raises(error):
        asyncio.run(
            fetch_passing(
                info,
                models_dir,
                used,
                hub=client,
                emit=lambda _: None,
                options=dataclasses.replace(OPTIONS, connections=1, chunk_bytes=64 << 20),
            )
        )
    folder = snapshots.partial_folder(models_dir, info)
    assert (folder / snapshots.shards(info)[0].path).exists()
    assert not (folder / snapshots.shards(info)[1].path).exists()


def test_a_shard_that_is_no_safetensors_file_never_gets_its_name(
    hub: LocalHub, info: ModelInfo, models_dir: Path, used: Path, client: HubClient, source: Path
) -> None:
    first = snapshots.shards(info)[0].path
    files = {p.name: p.read_bytes() for p in source.iterdir()} | {first: b"\xff" * 100_000}
    hub.add_repo("org/name", files)
    commit = hub.repos["org/name"]["main"].commit
    body = hub.repos["org/name"]["main"]
    listed = tuple(
        dataclasses.replace(f, size_bytes=100_000, sha256=body.digest(first, "sha256")) if f.path == first else f
        for f in info.files
    )
    with pytest.raises(UnsafeFormat, match=first):
        get(dataclasses.replace(info, commit=commit, files=listed), models_dir, used, client)
    assert not list(models_dir.rglob("*.safetensors"))


# ------------------------------------------------------------ room


@pytest.fixture
def small_disk(tmp_path: Path, info: ModelInfo, used: Path) -> Iterator[Path]:
    """A tmpfs with room for what passes at once and a little more, far less than the model."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    size = passing_bytes(info, folder, used) + (2 << 20)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_model_larger_than_the_free_disk_passes_through_it(
    hub: LocalHub, info: ModelInfo, small_disk: Path, used: Path, client: HubClient, source: Path
) -> None:
    assert missing_bytes(info, small_disk) > os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    with pytest.raises(DiskFull, match="MB more"):
        asyncio.run(fetch(info, small_disk, hub=client, emit=lambda _: None, options=OPTIONS))
    assert hub.requests == []
    with Reader(info, small_disk, source, used) as reader:
        get(info, small_disk, used, client)
        assert reader.read_all(SHARDS)


def test_a_disk_too_small_even_for_that_is_told_before_a_byte_is_fetched(
    hub: LocalHub, info: ModelInfo, small_disk: Path, used: Path, client: HubClient
) -> None:
    (small_disk / "ballast").write_bytes(bytes(2 << 20))
    with pytest.raises(DiskFull, match="MB more"):
        get(info, small_disk, used, client)
    assert hub.requests == []


def test_what_lies_there_or_was_used_is_counted(info: ModelInfo, models_dir: Path, used: Path, source: Path) -> None:
    sizes = [f.size_bytes for f in snapshots.shards(info)]
    small = sum(f.size_bytes for f in info.files) - sum(sizes)
    pairs = [a + b for a, b in itertools.pairwise(sizes)]
    assert passing_bytes(info, models_dir, used) == small + max(pairs)
    assert passing_bytes(info, models_dir, used, ahead=1) == small + max(sizes)
    assert passing_bytes(info, models_dir, used, ahead=99) == missing_bytes(info, models_dir)
    for shard in snapshots.shards(info)[:-1]:
        (used / shard.path).touch()
    assert passing_bytes(info, models_dir, used) == small + sizes[-1]
    folder = snapshots.partial_folder(models_dir, info)
    folder.mkdir(parents=True)
    last = snapshots.shards(info)[-1].path
    (folder / last).write_bytes((source / last).read_bytes())
    assert passing_bytes(info, models_dir, used) == small


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 1)), max_size=7), st.integers(1, 4))
def test_the_room_asked_for_is_what_passing_takes_step_by_step(shards: list[tuple[int, float]], ahead: int) -> None:
    """Against a disk on which each shard is written whole, in order, when those too far back are removed first."""
    sizes = [size for size, _ in shards]
    disk = {n: int(size * part) for n, (size, part) in enumerate(shards)}
    before, most = sum(disk.values()), 0
    for n, size in enumerate(sizes):
        disk.pop(n - ahead, None)
        disk[n] = size
        most = max(most, sum(disk.values()) - before)
    files = [RemoteFile(f"model-{n}.safetensors", size) for n, size in enumerate(sizes)]
    have = [int(size * part) for size, part in shards]
    assert rolling_download._growth(files, have, ahead) == most


def test_the_folder_of_a_model_that_another_process_fetches_is_not_removed(info: ModelInfo, models_dir: Path) -> None:
    folder = snapshots.partial_folder(models_dir, info)
    folder.mkdir(parents=True)
    with FileLock(folder.parent / snapshots.LOCK):
        forget_passing(info, models_dir)
        assert folder.exists()
    forget_passing(info, models_dir)
    assert not folder.exists()
