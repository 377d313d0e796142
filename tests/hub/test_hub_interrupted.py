"""Killed, or out of disk: what was proven is kept, nothing half-made is visible, and the next run goes on."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lqmf.errors import DiskFull, TransferError
from lqmf.hub import snapshots
from lqmf.hub.client import HubClient
from lqmf.hub.download import TransferOptions, fetch, find_local
from lqmf.hub.journal import proven
from lqmf.hub.metadata import inspect
from lqmf.hub.ranges import Range, covered, merge, missing
from lqmf.hub.transfer import disk_error
from lqmf.records import ModelInfo, ModelRef
from tests.hub.models import small_model
from tests.hub.server import LocalHub

ORG = ModelRef("hub", "org/name")
ELEMENTS = 2_000_000
FILES = small_model(ELEMENTS)
SIZE = len(FILES["model.safetensors"])
WEIGHTS = "/cdn/*/model.safetensors"
CHILD = Path(__file__).with_name("child.py")


@pytest.fixture
def info(hub: LocalHub, client: HubClient) -> ModelInfo:
    hub.add_repo("org/name", FILES, safetensors={"parameters": {"BF16": ELEMENTS}, "total": ELEMENTS})
    described = asyncio.run(inspect(ORG, hub=client))
    hub.requests.clear()
    return described


def kept(info: ModelInfo, models_dir: Path) -> list[Range]:
    """What the journal proves of the weights."""
    file = next(f for f in info.files if f.path == "model.safetensors")
    return proven(snapshots.partial_folder(models_dir, info) / file.path, file.size_bytes, snapshots.identity(file))


def get(info: ModelInfo, models_dir: Path, client: HubClient, options: TransferOptions, emit=lambda _: None) -> Path:
    return asyncio.run(fetch(info, models_dir, hub=client, emit=emit, options=options))


def whole(folder: Path) -> bool:
    return all((folder / path).read_bytes() == body for path, body in FILES.items() if path != "README.md")


@pytest.mark.parametrize("kills", [1, 3])
def test_a_killed_process_resumes_and_fetches_no_proven_byte_again(
    hub: LocalHub, info: ModelInfo, models_dir: Path, client: HubClient, options: TransferOptions, kills: int
) -> None:
    """kill -9 of a real child in mid-download, several times over; the server's log shows the ranges."""
    have: list[Range] = []
    for _ in range(kills):
        hub.fail(WEIGHTS, "slow", times=99, bytes_per_second=300_000)
        child = subprocess.Popen([sys.executable, str(CHILD), hub.url, str(models_dir)], stdout=subprocess.DEVNULL)
        before = covered(have)
        while covered(kept(info, models_dir)) < before + 200_000:
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        hub._faults.clear()
        have = kept(info, models_dir)
        assert before < covered(have) < SIZE
        assert find_local(ORG, models_dir) is None
        assert snapshots.present(info, models_dir) is None
    hub.requests.clear()
    assert whole(get(info, models_dir, client, options))
    asked = merge((start, end) for start, end, _ in hub.ranges(WEIGHTS))
    assert asked == merge(missing(have, SIZE))
    assert sum(sent for _, _, sent in hub.ranges(WEIGHTS)) == SIZE - covered(have)


def test_a_killed_process_holds_no_lock(hub: LocalHub, info: ModelInfo, models_dir: Path, client: HubClient) -> None:
    hub.fail(WEIGHTS, "slow", times=99, bytes_per_second=200_000)
    child = subprocess.Popen([sys.executable, str(CHILD), hub.url, str(models_dir)], stdout=subprocess.DEVNULL)
    while not hub.ranges(WEIGHTS):
        time.sleep(0.01)
    child.kill()
    child.wait()
    hub._faults.clear()
    assert whole(get(info, models_dir, client, TransferOptions()))


# ------------------------------------------------------------ no room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs that holds the model and half a megabyte more than the check asks for."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE + (2 << 20)}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_too_small_is_told_before_a_byte_of_weights_is_fetched(
    hub: LocalHub, info: ModelInfo, small_disk: Path, client: HubClient, options: TransferOptions
) -> None:
    (small_disk / "ballast").write_bytes(bytes(3 << 20))
    with pytest.raises(DiskFull, match="MB more") as caught:
        get(info, small_disk, client, options)
    assert caught.value.details["needed_bytes"] > caught.value.details["free_bytes"]
    assert hub.requests == []


def test_a_disk_that_fills_up_on_the_way_is_told_and_resumed_after_freeing(
    hub: LocalHub, info: ModelInfo, small_disk: Path, client: HubClient, options: TransferOptions
) -> None:
    ballast = small_disk / "ballast"

    def fill_once_bytes_arrive(_event: object) -> None:
        if covered(kept(info, small_disk)) > 500_000 and not ballast.exists():
            with ballast.open("wb", buffering=0) as file:
                left = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
                file.write(bytes(max(0, left - 200_000)))

    hub.fail(WEIGHTS, "slow", times=99, bytes_per_second=1_000_000)
    with pytest.raises(DiskFull, match="disk is full") as caught:
        get(info, small_disk, client, options, fill_once_bytes_arrive)
    hub._faults.clear()
    assert "goes on where it stopped" in caught.value.remedy
    assert find_local(ORG, small_disk) is None
    have = kept(info, small_disk)
    assert 500_000 < covered(have) < SIZE
    ballast.unlink()
    hub.requests.clear()
    assert whole(get(info, small_disk, client, options))
    assert merge((start, end) for start, end, _ in hub.ranges(WEIGHTS)) == merge(missing(have, SIZE))


def test_a_file_size_limit_is_a_full_disk_too(
    hub: LocalHub, info: ModelInfo, models_dir: Path, client: HubClient, options: TransferOptions
) -> None:
    """A quota by RLIMIT_FSIZE in a real process, which answers writes with EFBIG."""
    command = [sys.executable, str(CHILD), hub.url, str(models_dir), str(SIZE // 2)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["code"] == "disk_full"
    assert find_local(ORG, models_dir) is None
    have = kept(info, models_dir)
    assert covered(have) > 0
    hub.requests.clear()
    assert whole(get(info, models_dir, client, options))
    assert merge((start, end) for start, end, _ in hub.ranges(WEIGHTS)) == merge(missing(have, SIZE))


def test_a_folder_that_cannot_be_written_is_told(
    info: ModelInfo, tmp_path: Path, client: HubClient, options: TransferOptions
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransferError) as caught:
        get(info, tmp_path / "file", client, options)
    assert caught.value.remedy


def test_quota_and_full_disk_are_the_same_error_and_others_are_not() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert isinstance(disk_error(OSError(number, "x"), "f"), DiskFull)
    assert not isinstance(disk_error(OSError(errno.EACCES, "x"), "f"), DiskFull)
