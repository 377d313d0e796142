"""Provides a model's files on this machine: used where they are, or fetched whole.

The code follows the order of events: refuse, look here, lock, check the disk, fetch and verify every file, publish in
one rename (or hand the files to a reader that deletes them, where the model shall not stay). Knows snapshots and
transfers; knows nothing of how the model is used.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from lqmf.errors import DiskFull, HubSilent, IncompleteModel, NotTheHub, Offline
from lqmf.events import Emit, Notice, Progress
from lqmf.hub import metadata, snapshots, translate
from lqmf.hub.client import HubClient
from lqmf.hub.filling import Filling, check_formats, worst
from lqmf.hub.rolling_download import AHEAD, ShardWindow, forget_passing, passing_bytes
from lqmf.hub.snapshots import arrivals, clean_orphans, find_local, missing_bytes
from lqmf.hub.transfer import TransferOptions, disk_error
from lqmf.model_files import selection
from lqmf.records import ModelInfo, ModelRef
from lqmf.units import file_size

__all__ = [
    "TransferOptions", "arrivals", "check_formats", "clean_orphans", "fetch", "fetch_passing", "find_local",
    "forget_passing", "inspect_or_find", "missing_bytes", "passing_bytes", "worst",
]  # fmt: skip

_SPARE_BYTES = 1 << 20  # for journals and folders
_SECONDS_BETWEEN_LOOKS = 0.2


async def fetch(
    info: ModelInfo,
    dest_root: Path,
    *,
    hub: HubClient,
    emit: Emit,
    job: str = "",
    options: TransferOptions | None = None,
) -> Path:
    """Return the folder that holds every file of `info.files`, whole and verified; fetch the missing files.

    A local folder, the demo and a snapshot in the Hugging Face cache are used in place; anything else is fetched into
    `dest_root`. Emits Progress (stage "download", bytes, those already here counted) and a Notice for each new attempt.
    Raises UnsafeFormat, GatedModel, IncompleteModel, DiskFull and the transfer errors; bytes fetched until then are
    kept and count at the next call, after a cancellation or a kill too.
    """

    async def whole() -> Path:
        _check_disk(info, dest_root, missing_bytes(info, dest_root))
        filled = await Filling(info, dest_root, hub, emit, job, options or TransferOptions()).fill()
        return snapshots.publish(info, dest_root, filled)

    ready = await _unless_here(info, dest_root, whole, hub=hub, emit=emit, job=job)
    if info.ref.kind == "hub":
        snapshots.remember(info, dest_root)
    return ready


async def fetch_passing(
    info: ModelInfo,
    dest_root: Path,
    used: Path,
    *,
    hub: HubClient,
    emit: Emit,
    job: str = "",
    options: TransferOptions | None = None,
    ahead: int = AHEAD,
) -> Path:
    """Fetch every shard that has no mark in `used`, with never more than `ahead` (at least 1) unused shards on the
    disk.

    Returns the partial folder when the last shard is there; it does not become a snapshot. A model that lies whole on
    this machine is used in place: its folder is returned, which is no partial folder and not to be emptied. Emits and
    raises as `fetch` does. A reader that needs more than `ahead` shards at once waits for ever.
    """

    async def passing() -> Path:
        _check_disk(info, dest_root, passing_bytes(info, dest_root, used, ahead))
        filling = Filling(info, dest_root, hub, emit, job, options or TransferOptions())
        await filling.fill(ShardWindow(filling.folder, used, ahead).admit)
        return filling.folder

    return await _unless_here(info, dest_root, passing, hub=hub, emit=emit, job=job)


async def _unless_here(
    info: ModelInfo, dest_root: Path, make: Callable[[], Awaitable[Path]], *, hub: HubClient, emit: Emit, job: str
) -> Path:
    """Return the folder where `info` lies whole on this machine; else the folder that `make` returns, called with the
    model's lock held.

    Raises what `fetch` raises; a fault of the disk in `make` as DiskFull or TransferError.
    """
    refuse(info)
    ready = await asyncio.to_thread(snapshots.present, info, dest_root)
    if ready is None:
        refuse_network(info, hub)
        await asyncio.to_thread(clean_orphans, dest_root, keep=snapshots.partial_folder(dest_root, info))
        async with locked(snapshots.model_folder(dest_root, info.ref.id), emit, job):
            try:
                ready = await asyncio.to_thread(snapshots.present, info, dest_root) or await make()
            except OSError as error:
                raise disk_error(error, info.ref.id) from None
    total = sum(file.size_bytes for file in info.files)
    emit(Progress(job=job, stage="download", done=total, total=total, unit="bytes"))
    return ready


async def inspect_or_find(ref: ModelRef, dest_root: Path, *, hub: HubClient) -> ModelInfo:
    """Return the model's description from `inspect`, or, where no Hub answers, from the files that are already here.
    Raises as `inspect` does."""
    try:
        return await metadata.inspect(ref, hub=hub)
    except (Offline, HubSilent, NotTheHub):
        found = await asyncio.to_thread(find_local, ref, dest_root)
        if found is None:
            raise
        return found


def refuse(info: ModelInfo) -> None:
    """Raise UnsafeFormat for pickled weights or a path that leads out, IncompleteModel where there are no weights."""
    if info.weights_format == "pickle":
        raise selection.pickle_refused(info.ref.id)
    if info.weights_format == "none":
        raise IncompleteModel(
            f"{info.ref.id} has no weights in safetensors files.",
            "Name a model's own repository (one with config.json and *.safetensors), not an adapter or a GGUF one.",
        )
    selection.refuse_unsafe_paths(file.path for file in info.files)


def refuse_network(info: ModelInfo, hub: HubClient) -> None:
    """Raise Offline where the user forbade the network, GatedModel where the files may not be read."""
    subject = hub.subject(info.ref.id, info.ref.revision)
    if hub.is_offline():
        raise translate.offline(subject)
    if info.access in ("gated", "private"):
        raise translate.gated(subject)


def _check_disk(info: ModelInfo, dest_root: Path, more_bytes: int) -> None:
    """Raise DiskFull where `dest_root` has no room for `more_bytes` more."""
    needed = more_bytes + _SPARE_BYTES
    free = shutil.disk_usage(dest_root).free
    if free < needed:
        raise DiskFull(
            f"{info.ref.id} needs {file_size(needed)} more in {dest_root}, where {file_size(free)} are free.",
            "Free some space (lqmf disk), or set models_dir to a larger disk: lqmf config set models_dir PATH",
            needed_bytes=needed,
            free_bytes=free,
        )


@asynccontextmanager
async def locked(folder: Path, emit: Emit, job: str) -> AsyncIterator[None]:
    """Hold a model's lock, after waiting for another process that holds it; the system frees the lock of a killed
    process. Raises DiskFull or TransferError where the folder cannot be made."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from None
    lock, told = FileLock(folder / snapshots.LOCK), False
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            if not told:
                emit(Notice(job=job, text="Another LQMF is fetching this model: waiting for it."))
                told = True
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        lock.release()
