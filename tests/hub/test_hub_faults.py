"""Every fault of the far end has its own clear error or heals, and no half model is ever taken for a whole one."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from lqmf.errors import (
    ConnectionBroken,
    GatedModel,
    HubUnavailable,
    IncompleteModel,
    IntegrityError,
    LqmfError,
    Offline,
    RateLimited,
    Unauthorized,
)
from lqmf.events import Event, Notice
from lqmf.hub import snapshots
from lqmf.hub.client import HubClient
from lqmf.hub.download import TransferOptions, fetch, find_local, missing_bytes
from lqmf.hub.journal import proven
from lqmf.hub.metadata import inspect
from lqmf.hub.ranges import covered, merge
from lqmf.records import ModelInfo, ModelRef
from tests.hub.conftest import QUICK
from tests.hub.models import small_model
from tests.hub.server import LocalHub

ORG = ModelRef("hub", "org/name")
FILES = small_model()
SIZE = len(FILES["model.safetensors"])
WEIGHTS = "/cdn/*/model.safetensors"
EVER = 1 + QUICK.max_retries  # so many times in a row, a fault is final


@pytest.fixture
def info(hub: LocalHub, client: HubClient) -> ModelInfo:
    hub.add_repo("org/name", FILES, safetensors={"parameters": {"BF16": 200_000}, "total": 200_000})
    described = asyncio.run(inspect(ORG, hub=client))
    hub.requests.clear()
    return described


@pytest.fixture
def get(info: ModelInfo, client: HubClient, models_dir: Path, options: TransferOptions) -> Callable[..., Path]:
    def get(events: list[Event] | None = None, **changed: object) -> Path:
        emit = events.append if events is not None else lambda _: None
        chosen = dataclasses.replace(options, **changed)  # type: ignore[arg-type]
        return asyncio.run(fetch(info, models_dir, hub=client, emit=emit, options=chosen))

    return get


def partial_of(info: ModelInfo, models_dir: Path) -> list[tuple[int, int]]:
    file = next(f for f in info.files if f.path == "model.safetensors")
    return proven(snapshots.partial_folder(models_dir, info) / file.path, file.size_bytes, snapshots.identity(file))


def nothing_is_visible(info: ModelInfo, models_dir: Path) -> bool:
    """Neither a finished folder, nor anything that a reader would take for one."""
    visible = [p.name for p in (models_dir / "org--name").glob("*") if not p.name.startswith(".")]
    return find_local(ORG, models_dir) is None and snapshots.present(info, models_dir) is None and visible == []


def whole(folder: Path) -> bool:
    return all((folder / path).read_bytes() == body for path, body in FILES.items() if path != "README.md")


def test_a_cut_connection_resumes_where_it_ended(hub: LocalHub, get: Callable[..., Path]) -> None:
    """In one run: the second request's range starts where the first one's bytes ended."""
    hub.fail(WEIGHTS, "cut", after=100_000)
    events: list[Event] = []
    assert whole(get(events, chunk_bytes=SIZE))
    (first_start, first_end, sent), (second_start, second_end, _) = hub.ranges(WEIGHTS)
    assert (first_start, first_end, sent) == (0, SIZE, 100_000)
    assert (second_start, second_end) == (100_000, SIZE)
    assert any(isinstance(e, Notice) and "Trying again" in e.text for e in events)


def test_many_cuts_are_survived_as_long_as_bytes_arrive(hub: LocalHub, get: Callable[..., Path]) -> None:
    hub.fail(WEIGHTS, "cut", after=50_000, times=7)
    assert whole(get(chunk_bytes=SIZE))
    assert [start for start, _, _ in hub.ranges(WEIGHTS)] == [50_000 * n for n in range(8)]


def test_a_connection_that_never_brings_a_byte_is_given_up_and_resumed_by_the_next_run(
    hub: LocalHub, info: ModelInfo, get: Callable[..., Path], models_dir: Path
) -> None:
    hub.fail(WEIGHTS, "cut", after=150_000)
    hub.fail(WEIGHTS, "hang", times=EVER)
    with pytest.raises(ConnectionBroken) as caught:
        get(chunk_bytes=SIZE)
    assert caught.value.remedy
    assert nothing_is_visible(info, models_dir)
    assert partial_of(info, models_dir) == [(0, 150_000)]
    assert missing_bytes(info, models_dir) <= sum(f.size_bytes for f in info.files) - 150_000
    hub.requests.clear()
    assert whole(get(chunk_bytes=SIZE))
    assert [(start, end) for start, end, _ in hub.ranges(WEIGHTS)] == [(150_000, SIZE)]


def test_a_body_shorter_than_asked_for_is_continued(hub: LocalHub, get: Callable[..., Path]) -> None:
    """The Content-Length is honest, the body is not the whole range."""
    hub.fail(WEIGHTS, "truncate", missing=1000)
    assert whole(get(chunk_bytes=SIZE))
    assert [start for start, _, _ in hub.ranges(WEIGHTS)] == [0, SIZE - 1000]


def test_a_small_file_truncated_for_ever_is_a_broken_connection(
    hub: LocalHub, info: ModelInfo, get: Callable[..., Path], models_dir: Path
) -> None:
    hub.fail("*/tokenizer.json", "truncate", missing=5, times=1 + EVER)
    with pytest.raises(ConnectionBroken, match=r"tokenizer\.json of org/name ended 5 bytes early"):
        get()
    assert nothing_is_visible(info, models_dir)


@pytest.mark.parametrize("path", [WEIGHTS, "*/tokenizer.json"])
def test_wrong_bytes_of_the_right_size_are_fetched_once_more(
    hub: LocalHub, get: Callable[..., Path], path: str
) -> None:
    hub.fail(path, "corrupt")
    events: list[Event] = []
    assert whole(get(events))
    assert any(isinstance(e, Notice) and "wrong bytes" in e.text for e in events)


@pytest.mark.parametrize("path", ["model.safetensors", "tokenizer.json"])
def test_wrong_bytes_twice_are_an_integrity_error_and_are_not_kept(
    hub: LocalHub, info: ModelInfo, get: Callable[..., Path], models_dir: Path, path: str
) -> None:
    hub.fail("*/" + path, "corrupt", times=2)
    with pytest.raises(IntegrityError, match=f"{path} has the right size but the wrong bytes"):
        get(chunk_bytes=SIZE)
    assert nothing_is_visible(info, models_dir)
    assert not list(models_dir.rglob(f"{path}*"))
    assert whole(get())


@pytest.mark.parametrize("path", ["/org/name/resolve/*/model.safetensors", "/org/name/resolve/*/tokenizer.json"])
def test_a_wrong_etag_is_an_integrity_error_after_one_new_try(
    hub: LocalHub, info: ModelInfo, get: Callable[..., Path], models_dir: Path, path: str
) -> None:
    hub.fail(path, "etag", method="HEAD", times=2)
    with pytest.raises(IntegrityError, match="its etag is 0000"):
        get()
    assert nothing_is_visible(info, models_dir)
    hub.fail(path, "etag", method="HEAD")
    assert whole(get())


def test_an_etag_that_changes_between_ranges_restarts_the_file(hub: LocalHub, get: Callable[..., Path]) -> None:
    hub.fail(WEIGHTS, "etag")
    events: list[Event] = []
    assert whole(get(events))
    assert any(isinstance(e, Notice) and "etag changed" in e.text for e in events)
    assert [start for start, _, _ in hub.ranges(WEIGHTS)].count(0) == 2


def test_another_commit_than_the_pinned_one_is_an_integrity_error(
    hub: LocalHub, info: ModelInfo, get: Callable[..., Path], models_dir: Path
) -> None:
    hub.fail("/org/name/resolve/*", "commit", method="HEAD", times=10)
    with pytest.raises(IntegrityError, match="another commit"):
        get()
    assert nothing_is_visible(info, models_dir)
    hub._faults.clear()


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (401, {}, Unauthorized),
        (403, {"x_error_code": "GatedRepo"}, GatedModel),
        (404, {"x_error_code": "EntryNotFound"}, IncompleteModel),
        (404, {}, IncompleteModel),
        (429, {"retry_after": "0"}, RateLimited),
        (500, {}, HubUnavailable),
        (503, {}, HubUnavailable),
    ],
)
def test_each_status_is_its_own_error_and_what_can_heal_is_tried_again(
    hub: LocalHub,
    info: ModelInfo,
    get: Callable[..., Path],
    models_dir: Path,
    status: int,
    headers: dict[str, str],
    error: type[LqmfError],
) -> None:
    times = EVER if error.transient else 1
    hub.fail(
        "/org/name/resolve/*/model.safetensors", "status", method="HEAD", status=status, headers=headers, times=times
    )
    with pytest.raises(error) as caught:
        get()
    assert "model.safetensors" in caught.value.message
    assert caught.value.remedy
    assert "Signature" not in str(caught.value.to_json())
    assert nothing_is_visible(info, models_dir)
    assert whole(get())


@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (500, HubUnavailable), (403, ConnectionBroken)])
def test_the_storage_behind_the_hub_may_fail_too(
    hub: LocalHub, info: ModelInfo, get: Callable[..., Path], models_dir: Path, status: int, error: type[LqmfError]
) -> None:
    hub.fail(WEIGHTS, "status", status=status, times=EVER)
    with pytest.raises(error):
        get()
    assert nothing_is_visible(info, models_dir)
    hub.fail(WEIGHTS, "status", status=status, times=EVER - 1)
    assert whole(get())


def test_a_signed_address_that_ran_out_is_resolved_again(hub: LocalHub, get: Callable[..., Path]) -> None:
    hub.fail(WEIGHTS, "status", status=403)
    assert whole(get())
    asked = [r for r in hub.requests if r.method == "HEAD" and r.path.endswith("model.safetensors")]
    assert len(asked) == 2


def test_a_server_that_falls_silent_is_left_and_the_range_goes_on(hub: LocalHub, get: Callable[..., Path]) -> None:
    hub.fail(WEIGHTS, "stall")
    assert whole(get(chunk_bytes=SIZE, timeout_seconds=0.3))
    assert [start for start, _, _ in hub.ranges(WEIGHTS)] == [0, SIZE // 2]


def test_retry_after_is_obeyed_and_told(hub: LocalHub, get: Callable[..., Path]) -> None:
    hub.fail(WEIGHTS, "status", status=429, headers={"retry_after": "1"})
    events: list[Event] = []
    assert whole(get(events))
    assert any(isinstance(e, Notice) and "(429)" in e.text and "Trying again in 1 s" in e.text for e in events)


def test_a_retry_after_beyond_patience_is_handed_on(hub: LocalHub, get: Callable[..., Path]) -> None:
    hub.fail(WEIGHTS, "status", status=429, headers={"retry_after": "9999"})
    with pytest.raises(RateLimited) as caught:
        get()
    assert caught.value.retry_after_seconds == 9999


def test_a_hub_that_limits_is_not_asked_by_the_other_ranges_meanwhile(hub: LocalHub, get: Callable[..., Path]) -> None:
    hub.fail(WEIGHTS, "status", status=500, times=EVER)
    with pytest.raises(HubUnavailable):
        get(chunk_bytes=10_000, connections=1)
    assert len(hub.ranges(WEIGHTS)) == EVER


def test_no_network_in_mid_download_is_offline_and_resumes(
    hub: LocalHub,
    info: ModelInfo,
    get: Callable[..., Path],
    client: HubClient,
    models_dir: Path,
    options: TransferOptions,
) -> None:
    away = dataclasses.replace(client, endpoint="http://127.0.0.1:9")
    with pytest.raises(Offline, match="cannot be reached"):
        asyncio.run(fetch(info, models_dir, hub=away, emit=lambda _: None, options=options))
    assert nothing_is_visible(info, models_dir)
    assert whole(get())


def test_several_ranges_and_files_come_at_once_and_are_whole(hub: LocalHub, get: Callable[..., Path]) -> None:
    hub.fail(WEIGHTS, "cut", after=7_000, times=5)
    hub.fail("*/config.json", "status", status=503)
    assert whole(get(connections=4, chunk_bytes=30_000))
    asked = merge((start, end) for start, end, _ in hub.ranges(WEIGHTS))
    assert asked == [(0, SIZE)]


def test_a_cancelled_download_keeps_what_it_has_and_asks_no_more(
    hub: LocalHub, info: ModelInfo, client: HubClient, models_dir: Path, options: TransferOptions
) -> None:
    hub.fail(WEIGHTS, "slow", bytes_per_second=100_000, times=1)

    async def cancelled_once_bytes_arrive() -> None:
        task = asyncio.create_task(
            fetch(
                info,
                models_dir,
                hub=client,
                emit=lambda _: None,
                options=dataclasses.replace(options, chunk_bytes=SIZE),
            )
        )
        while not partial_of(info, models_dir):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled_once_bytes_arrive())
    had = partial_of(info, models_dir)
    assert 0 < covered(had) < SIZE
    assert nothing_is_visible(info, models_dir)
    hub.requests.clear()
    asyncio.run(fetch(info, models_dir, hub=client, emit=lambda _: None, options=options))
    assert sum(end - start for start, end, _ in hub.ranges(WEIGHTS)) == SIZE - covered(had)


def test_a_server_without_ranges_is_read_all_the_same(hub: LocalHub, get: Callable[..., Path]) -> None:
    hub.without_ranges = True
    assert whole(get(chunk_bytes=150_000))
