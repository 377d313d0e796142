"""Builds a model's folder without its weights: all small files, and of each safetensors file the header, then a hole.

    root/<org>--<name>/<commit>/              a skeleton
    root/<org>--<name>/.building-<commit>/    a skeleton that is being built

A file of weights has its full length and takes a few kilobytes of disk; the bytes behind its header read as zeros. The
small files are verified by their hashes; of a header, only that it comes from the listed file, and that it is sound.
Knows the Hub and folders; knows nothing of how a skeleton is used.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lqmf import workspace
from lqmf.errors import ModelError, ResourceError
from lqmf.events import Event
from lqmf.hub import download, metadata, snapshots
from lqmf.hub.client import HubClient
from lqmf.hub.journal import has_size
from lqmf.hub.ranges import Range
from lqmf.hub.transfer import FileTransfer, TransferOptions, disk_error
from lqmf.model_files import safetensors_header
from lqmf.records import ModelInfo, RemoteFile
from lqmf.units import file_size

if TYPE_CHECKING:
    import httpx2

_FIRST_BYTES = 128 << 10  # holds the header of most shards: one request
_MOST_SMALL_BYTES = 48 << 20  # Gemma 3's tokenizer files take 38 MB
_MOST_HEADER_BYTES = 64 << 20
_AT_ONCE = 8
_PROBE_BYTES = 8 << 20


async def skeleton(info: ModelInfo, *, hub: HubClient, root: Path, models: Path | None = None) -> Path:
    """Return a folder with the files of `info`, whose weights may be holes.

    A local folder, the demo, and a snapshot that is whole on this machine (in `models`, or in the Hugging Face cache)
    are returned as they are. Otherwise a skeleton is built and kept under `root` by commit; the next call needs no
    request. `root` is a folder for skeletons alone.

    Raises UnsafeFormat, IncompleteModel, GatedModel, ModelError for small files that are too large, ResourceError for a
    file system without holes, DiskFull and the transfer errors. An unfinished skeleton is removed.
    """
    download.refuse(info)
    here = await asyncio.to_thread(snapshots.present, info, models or root)
    if here is not None:
        return here
    folder = snapshots.snapshot_folder(root, info)
    if not _is_whole(folder, info):
        download.refuse_network(info, hub)
        _refuse_large(info)
        async with download.locked(folder.parent, _untold, ""):
            if not _is_whole(folder, info):
                await _Skeleton(info, hub, folder).build()
    return folder


def _untold(_event: Event) -> None:
    return None


def _is_weights(file: RemoteFile) -> bool:
    return file.path.endswith(".safetensors")


def _is_whole(folder: Path, info: ModelInfo) -> bool:
    return all(has_size(folder / file.path, file.size_bytes) for file in info.files)


def _refuse_large(info: ModelInfo) -> None:
    size = sum(file.size_bytes for file in info.files if not _is_weights(file))
    if size > _MOST_SMALL_BYTES:
        raise ModelError(
            f"The files of {info.ref.id} beside its weights take {file_size(size)}: more than a tokenizer and a "
            f"configuration need ({file_size(_MOST_SMALL_BYTES)} at most).",
            "Use another repository of this model, or fetch it yourself and name the folder (./folder).",
        )


@dataclass
class _Beginning:
    """The first bytes of a file, in memory: the receiver of a transfer. `grow` asks for more of them."""

    wanted: int
    body: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.grow(self.wanted)

    def grow(self, wanted: int) -> None:
        self.gap: Range = (len(self.body), wanted)
        self.body.extend(bytes(wanted - len(self.body)))

    def missing(self) -> list[Range]:
        return [self.gap]

    def write(self, offset: int, data: bytes) -> None:
        self.body[offset : offset + len(data)] = data

    def flush(self) -> None:
        """Do nothing: bytes in memory need no sync."""

    def close(self) -> None:
        """Do nothing: there is no file to close."""


@dataclass
class _Skeleton:
    """The building of one skeleton, in a hidden folder beside `folder`."""

    info: ModelInfo
    hub: HubClient
    folder: Path
    _header_bytes: int = 0

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(_AT_ONCE)
        self.options = TransferOptions(retry=self.hub.retry, timeout_seconds=self.hub.timeout_seconds)

    async def build(self) -> None:
        """Write every file, then rename the whole folder."""
        import httpx2

        try:
            self.place = workspace.building(self.folder.parent, self.folder.name)
            _refuse_dense(self.place)
            client = httpx2.AsyncClient(timeout=self.options.timeout_seconds)
            async with client as http, asyncio.TaskGroup() as group:
                for file in self.info.files:
                    group.create_task(self._weights(file, http) if _is_weights(file) else self._small(file))
            download.check_formats(self.place, self.info)
            shutil.rmtree(self.folder, ignore_errors=True)  # damaged since it was made
            os.replace(self.place, self.folder)
        except ExceptionGroup as errors:
            raise download.worst(errors) from None
        except OSError as error:
            raise disk_error(error, self.info.ref.id) from None
        finally:
            shutil.rmtree(self.folder.with_name(workspace.HIDDEN + self.folder.name), ignore_errors=True)

    async def _small(self, file: RemoteFile) -> None:
        async with self.slots:
            body = await self.hub.read_small(
                self.info.ref.id, file.path, self.info.commit or "", limit_bytes=_MOST_SMALL_BYTES
            )
        await self._put(file, metadata.verified(file, body))

    async def _weights(self, file: RemoteFile, http: httpx2.AsyncClient) -> None:
        """Fetch the header of a safetensors file in one range, or in two where it is long."""
        beginning = _Beginning(min(_FIRST_BYTES, file.size_bytes))
        transfer = FileTransfer(
            hub=self.hub,
            http=http,
            model=self.info.ref.id,
            commit=self.info.commit or "",
            file=file,
            partial=beginning,
            slots=self.slots,
            options=self.options,
            on_bytes=lambda _count: None,
            on_retry=lambda _error, _seconds: None,
        )
        await transfer.run()
        length = safetensors_header.length(bytes(beginning.body[:8]), file.path, file.size_bytes)
        self._refuse_long(length)
        if length > len(beginning.body):
            beginning.grow(length)
            await transfer.run()
        await self._put(file, beginning.body[:length])

    def _refuse_long(self, length: int) -> None:
        self._header_bytes += length
        if self._header_bytes > _MOST_HEADER_BYTES:
            raise ModelError(
                f"The headers of {self.info.ref.id}'s weights take more than {file_size(_MOST_HEADER_BYTES)}, which "
                "no real model's do.",
                "Use another repository of this model.",
            )

    async def _put(self, file: RemoteFile, body: bytes | bytearray) -> None:
        try:
            await asyncio.to_thread(_write_hollow, self.place / file.path, body, file.size_bytes)
        except OSError as error:
            raise disk_error(error, file.path) from None


def _write_hollow(path: Path, body: bytes | bytearray, size: int) -> None:
    """Write `body`, then a hole up to `size` bytes; sync the file."""
    with path.open("wb") as out:
        out.write(body)
        out.truncate(size)
        out.flush()
        os.fsync(out.fileno())


def _refuse_dense(folder: Path) -> None:
    """Raise ResourceError where a hole takes disk: the weights' full size would be written as zeros."""
    probe = folder / "probe"
    _write_hollow(probe, b"", _PROBE_BYTES)
    taken = _taken(probe)
    probe.unlink()
    if taken > _PROBE_BYTES // 8:
        raise ResourceError(
            f"The file system of {folder.parent} keeps no sparse files, so a model cannot be looked at there before it "
            "is fetched.",
            "Put LQMF's cache on another disk (ext4, xfs, btrfs, APFS): set LQMF_CACHE_DIR to a folder there.",
        )


def _taken(path: Path) -> int:
    """Return the bytes of disk that a file takes; its whole length where the system does not tell."""
    found = path.stat()
    return int(getattr(found, "st_blocks", found.st_size // 512)) * 512
