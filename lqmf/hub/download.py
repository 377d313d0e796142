"""A model's files on this machine: used where they are, or fetched whole.

Reads as it happens: refuse, look here, lock, check the disk, fetch and verify every file, publish in one rename. Knows
snapshots and transfers; knows nothing of what is done with the model.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lqmf.errors import DiskFull, IncompleteModel, IntegrityError, LqmfError, Offline
from lqmf.events import Emit, Notice, Progress
from lqmf.hub import describe, metadata, safetensors_header, selection, snapshots, translate, verify
from lqmf.hub.client import HubClient
from lqmf.hub.journal import Partial
from lqmf.hub.snapshots import clean_orphans, find_local, missing_bytes
from lqmf.hub.transfer import FileTransfer, TransferOptions, disk_error
from lqmf.records import ModelInfo, ModelRef, RemoteFile

if TYPE_CHECKING:
    import httpx2

__all__ = ["TransferOptions", "clean_orphans", "fetch", "find_local", "inspect_or_find", "missing_bytes"]

_SPARE_BYTES = 1 << 20  # for journals and folders
_SECONDS_BETWEEN_EVENTS = 0.1
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
    """The folder that holds every file of `info.files`, whole and verified.

    A local folder, the demo and a snapshot in the Hugging Face cache are used in place; anything else is fetched into
    `dest_root`. Emits Progress (stage "download", bytes, those already here counted) and a Notice for each new attempt.
    Raises UnsafeFormat, GatedModel, IncompleteModel, DiskFull and the transfer errors; what was fetched until then is
    kept and counts at the next call, after a cancellation or a kill too.
    """
    refuse(info)
    ready = await asyncio.to_thread(snapshots.present, info, dest_root)
    if ready is None:
        refuse_network(info, hub)
        await asyncio.to_thread(clean_orphans, dest_root, keep=snapshots.partial_folder(dest_root, info))
        async with locked(snapshots.model_folder(dest_root, info.ref.id), emit, job):
            ready = await asyncio.to_thread(snapshots.present, info, dest_root)
            if ready is None:
                _check_disk(info, dest_root)
                ready = await _Snapshot(info, dest_root, hub, emit, job, options or TransferOptions()).fetch()
    total = sum(file.size_bytes for file in info.files)
    emit(Progress(job=job, stage="download", done=total, total=total, unit="bytes"))
    if info.ref.kind == "hub":
        snapshots.remember(info, dest_root)
    return ready


async def inspect_or_find(ref: ModelRef, dest_root: Path, *, hub: HubClient) -> ModelInfo:
    """`inspect`, and without a network what is known of a model that is already here. Raises as `inspect` does."""
    try:
        return await metadata.inspect(ref, hub=hub)
    except Offline:
        found = await asyncio.to_thread(find_local, ref, dest_root)
        if found is None:
            raise
        return found


def refuse(info: ModelInfo) -> None:
    """Raises UnsafeFormat for pickled weights or a path that leads out, IncompleteModel where there are no weights."""
    if info.weights_format == "pickle":
        raise selection.pickle_refused(info.ref.id)
    if info.weights_format == "none":
        raise IncompleteModel(
            f"{info.ref.id} has no weights in safetensors files.",
            "Name a model's own repository (one with config.json and *.safetensors), not an adapter or a GGUF one.",
        )
    selection.refuse_unsafe_paths(file.path for file in info.files)


def refuse_network(info: ModelInfo, hub: HubClient) -> None:
    """Raises Offline where the user forbade the network, GatedModel where the files may not be read."""
    subject = hub.subject(info.ref.id, info.ref.revision)
    if hub.is_offline():
        raise translate.offline(subject)
    if info.access in ("gated", "private"):
        raise translate.gated(subject)


def _check_disk(info: ModelInfo, dest_root: Path) -> None:
    needed = missing_bytes(info, dest_root) + _SPARE_BYTES
    free = shutil.disk_usage(dest_root).free
    if free < needed:
        raise DiskFull(
            f"{info.ref.id} needs {needed / 1e9:.2f} GB more in {dest_root}, where {free / 1e9:.2f} GB are free.",
            "Free some space (lqmf disk), or set models_dir to a larger disk: lqmf config set models_dir PATH",
            needed_bytes=needed,
            free_bytes=free,
        )


@asynccontextmanager
async def locked(folder: Path, emit: Emit, job: str) -> AsyncIterator[None]:
    """One process at a time fetches a model; the system frees the lock of one that was killed."""
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


@dataclass
class _Tally:
    """Bytes that are here, by file; tells at most ten times a second."""

    total: int
    emit: Emit
    job: str
    by_file: dict[str, int] = field(default_factory=dict)
    _told_at: float = 0.0

    def set(self, path: str, count: int) -> None:
        self.by_file[path] = count
        self._tell()

    def add(self, path: str, count: int) -> None:
        self.set(path, self.by_file.get(path, 0) + count)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told_at >= _SECONDS_BETWEEN_EVENTS:
            self._told_at = now
            done = sum(self.by_file.values())
            self.emit(Progress(job=self.job, stage="download", done=done, total=self.total, unit="bytes"))


@dataclass
class _Snapshot:
    """The download of one snapshot into its partial folder."""

    info: ModelInfo
    dest_root: Path
    hub: HubClient
    emit: Emit
    job: str
    options: TransferOptions

    def __post_init__(self) -> None:
        self.folder = snapshots.partial_folder(self.dest_root, self.info)
        self.slots = asyncio.Semaphore(self.options.connections)
        self.tally = _Tally(sum(f.size_bytes for f in self.info.files), self.emit, self.job)
        self.stop = threading.Event()
        self.here = snapshots.reusable(self.info, self.dest_root)

    async def fetch(self) -> Path:
        """Every file, then the whole folder in one rename."""
        import httpx2

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            client = httpx2.AsyncClient(timeout=self.options.timeout_seconds)
            async with client as http, asyncio.TaskGroup() as group:
                tasks = {f.path: group.create_task(self._file(f, http)) for f in self.info.files}
            check_formats(self.folder, self.info)
            self._drop_leftovers()
            return snapshots.publish(self.info, self.dest_root, {path: task.result() for path, task in tasks.items()})
        except ExceptionGroup as errors:
            raise worst(errors) from None
        except OSError as error:
            raise disk_error(error, self.info.ref.id) from None
        finally:
            self.stop.set()

    async def _file(self, file: RemoteFile, http: httpx2.AsyncClient) -> str:
        """Fetch one file and give its SHA-256; wrong bytes are thrown away and fetched once more."""
        try:
            return await self._once(file, http)
        except IntegrityError as wrong:
            self._again(file, wrong)
            return await self._once(file, http)

    async def _once(self, file: RemoteFile, http: httpx2.AsyncClient) -> str:
        target = self.folder / file.path
        if (source := self.here.pop(file.path, None)) and not target.exists():
            await asyncio.to_thread(snapshots.take, source, target)
        partial = Partial(target, file.size_bytes, snapshots.identity(file), flush_bytes=self.options.journal_bytes)
        whole = snapshots.have(target, file) == file.size_bytes and target.exists()
        self.tally.set(file.path, snapshots.have(target, file))
        if not whole:
            await FileTransfer(
                hub=self.hub,
                http=http,
                model=self.info.ref.id,
                commit=self.info.commit or "",
                file=file,
                partial=partial,
                slots=self.slots,
                options=self.options,
                on_bytes=lambda count: self.tally.add(file.path, count),
                on_retry=lambda error, seconds: self._tell_retry(error, seconds),
            ).run()
        sha256, right = await asyncio.to_thread(verify.digest, target if whole else partial.part, file, self.stop)
        if not right:
            target.unlink(missing_ok=True)
            partial.discard()
            raise _wrong_bytes(file)
        if not whole:
            partial.promote()
        return sha256

    def _again(self, file: RemoteFile, wrong: IntegrityError) -> None:
        Partial(self.folder / file.path, file.size_bytes, snapshots.identity(file)).discard()
        self.tally.set(file.path, 0)
        self.emit(Notice(job=self.job, level="warning", text=f"{wrong.message} Fetching it once more."))

    def _tell_retry(self, error: LqmfError, seconds: float) -> None:
        text = f"{error.message} Trying again in {seconds:.0f} s."
        self.emit(Notice(job=self.job, level="warning", text=text))

    def _drop_leftovers(self) -> None:
        wanted = {self.folder / file.path for file in self.info.files}
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in wanted:
                path.unlink()


def check_formats(folder: Path, info: ModelInfo) -> None:
    """Raises UnsafeFormat or IncompleteModel where a file of `info` in `folder` is not of the format of its name."""
    for file in info.files:
        path = folder / file.path
        if path.suffix == ".safetensors":
            safetensors_header.read(path)
        if path.suffix in (".json", ".model") and describe.looks_like_a_link(path.read_bytes()[:2048]):
            raise describe.link_refused(file.path)


def worst(errors: ExceptionGroup[Exception]) -> Exception:
    """The error to tell of several files' errors: what cannot heal comes before what can."""
    flat = [e for e in errors.exceptions if not isinstance(e, verify.Stopped)]
    return next((e for e in flat if not (isinstance(e, LqmfError) and e.transient)), flat[0])


def _wrong_bytes(file: RemoteFile) -> IntegrityError:
    return IntegrityError(
        f"{file.path} has the right size but the wrong bytes: its hash is not the one that the Hub lists.",
        "Run the same command again; if it stays so, check the disk, or the proxy in between.",
    )
