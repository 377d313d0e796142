"""Downloads a model's files into its partial folder: the small files first, then the shards in order.

Knows order, verification and progress; knows nothing of locks or of when a model may be fetched. A file gets its own
name there by a rename when its bytes are verified, so that a reader may begin with it while the next files arrive.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lqmf.errors import IntegrityError, LqmfError
from lqmf.events import Emit, Notice, Progress
from lqmf.hub import snapshots, verify
from lqmf.hub.client import HubClient
from lqmf.hub.journal import Partial
from lqmf.hub.transfer import FileTransfer, TransferOptions
from lqmf.model_files import describe, safetensors_header
from lqmf.records import ModelInfo, RemoteFile

if TYPE_CHECKING:
    import httpx2

_SECONDS_BETWEEN_EVENTS = 0.1

Turn = Callable[[RemoteFile], Awaitable[bool]]  # waits until a shard may begin; False where it is not to be fetched


async def at_once(_shard: RemoteFile) -> bool:
    """Let every shard begin as soon as the shard before it leaves a connection free. Always returns True."""
    return True


@dataclass
class _Tally:
    """Counts the bytes that are here, by file; emits Progress at most ten times a second."""

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
class Filling:
    """The download of one snapshot's files into its partial folder. Used once."""

    info: ModelInfo
    dest_root: Path
    hub: HubClient
    emit: Emit
    job: str
    options: TransferOptions

    def __post_init__(self) -> None:
        self.folder = snapshots.partial_folder(self.dest_root, self.info)
        self.slots = asyncio.Semaphore(self.options.connections)
        self.here = snapshots.reusable(self.info, self.dest_root)
        lying = {f.path: snapshots.have(self.folder / f.path, f) for f in self.info.files}
        self.tally = _Tally(sum(f.size_bytes for f in self.info.files), self.emit, self.job, lying)
        self.stop = threading.Event()
        self.sha256: dict[str, str] = {}

    async def fill(self, turn: Turn = at_once) -> dict[str, str]:
        """Fetch the missing files. Returns the SHA-256 of each file by path, without the shards that `turn` refused.

        Raises the transfer errors, UnsafeFormat, IncompleteModel and OSError; bytes fetched until then are kept.
        """
        import httpx2

        self.folder.mkdir(parents=True, exist_ok=True)
        shards = snapshots.shards(self.info)
        client = httpx2.AsyncClient(timeout=self.options.timeout_seconds)
        try:
            async with client as http, asyncio.TaskGroup() as group:
                await self._begin(group, http, *(f for f in self.info.files if f not in shards))
                for shard in shards:
                    if await turn(shard):
                        await self._begin(group, http, shard)
                    else:
                        self.tally.set(shard.path, shard.size_bytes)
        except ExceptionGroup as errors:
            raise worst(errors) from None
        finally:
            self.stop.set()
        return self.sha256

    async def _begin(self, group: asyncio.TaskGroup, http: httpx2.AsyncClient, *files: RemoteFile) -> None:
        """Start the files; return when all their ranges wait in the queue for connections. The queue is first come,
        first served: files that begin later take only the connections that these leave free."""
        queued = [asyncio.Event() for _ in files]
        for file, event in zip(files, queued, strict=True):
            group.create_task(self._file(file, http, event.set))
        for event in queued:
            await event.wait()

    async def _file(self, file: RemoteFile, http: httpx2.AsyncClient, on_queued: Callable[[], None]) -> None:
        """Fetch one file; wrong bytes are thrown away and fetched once more."""
        try:
            await self._once(file, http, on_queued)
        except IntegrityError as wrong:
            self._again(file, wrong)
            await self._once(file, http, on_queued)

    async def _once(self, file: RemoteFile, http: httpx2.AsyncClient, on_queued: Callable[[], None]) -> None:
        target = self.folder / file.path
        partial = Partial(target, file.size_bytes, snapshots.identity(file), flush_bytes=self.options.journal_bytes)
        known = self.here.pop(file.path, None)
        source = target if snapshots.is_whole(target, file) else known
        if source:
            on_queued()  # it needs no connection
            path = await self._taken(source, target)
            self.tally.set(file.path, file.size_bytes)
        else:
            await self._transfer(file, http, partial, on_queued)
            path = partial.part
        sha256, right = await asyncio.to_thread(verify.digest, path, file, self.stop)
        if not right:
            path.unlink(missing_ok=True)
            partial.discard()
            raise _wrong_bytes(file)
        await asyncio.to_thread(check_format, path, file)
        self._name(path, partial)
        self.sha256[file.path] = sha256

    async def _taken(self, source: Path, target: Path) -> Path:
        """Return the path of a file that is already on this machine: its own name, or a copy beside that name where it
        came from elsewhere, as nobody has verified it yet."""
        if source == target:
            return target
        beside = target.with_name(target.name + ".taken")
        await asyncio.to_thread(snapshots.take, source, beside)
        return beside

    def _name(self, path: Path, partial: Partial) -> None:
        """Give a verified file its own name."""
        if path == partial.part:
            partial.promote()
        elif path != partial.target:
            os.replace(path, partial.target)
            partial.discard()

    async def _transfer(
        self, file: RemoteFile, http: httpx2.AsyncClient, partial: Partial, on_queued: Callable[[], None]
    ) -> None:
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
            on_retry=self._tell_retry,
            on_queued=on_queued,
        ).run()

    def _again(self, file: RemoteFile, wrong: IntegrityError) -> None:
        Partial(self.folder / file.path, file.size_bytes, snapshots.identity(file)).discard()
        self.tally.set(file.path, 0)
        self.emit(Notice(job=self.job, level="warning", text=f"{wrong.message} Fetching it once more."))

    def _tell_retry(self, error: LqmfError, seconds: float) -> None:
        text = f"{error.message} Trying again in {seconds:.0f} s."
        self.emit(Notice(job=self.job, level="warning", text=text))


def check_formats(folder: Path, info: ModelInfo) -> None:
    """Raise UnsafeFormat or IncompleteModel where a file of `info` in `folder` is not of the format of its name."""
    for file in info.files:
        check_format(folder / file.path, file)


def check_format(path: Path, file: RemoteFile) -> None:
    """Raise UnsafeFormat or IncompleteModel where the content at `path` is not of the format that `file.path` names;
    `path` may still be a temporary name."""
    if file.path.endswith(".safetensors"):
        size = path.stat().st_size
        with path.open("rb") as stream:
            raw = stream.read(safetensors_header.length(stream.read(8), file.path, size) - 8)
        safetensors_header.parse(raw, file.path, size)
    if file.path.endswith((".json", ".model")) and describe.looks_like_a_link(path.read_bytes()[:2048]):
        raise describe.link_refused(file.path)


def worst(errors: ExceptionGroup[Exception]) -> Exception:
    """Return the error to report when several files failed: an error that cannot heal comes before errors that may."""
    flat = [e for e in errors.exceptions if not isinstance(e, verify.Stopped)]
    return next((e for e in flat if not (isinstance(e, LqmfError) and e.transient)), flat[0])


def _wrong_bytes(file: RemoteFile) -> IntegrityError:
    return IntegrityError(
        f"{file.path} has the right size but the wrong bytes: its hash is not the one that the Hub lists.",
        "Run the same command again; if it stays so, check the disk, or the proxy in between.",
    )
