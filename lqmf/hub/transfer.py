"""Downloads the missing bytes of one file from the Hub: by ranges, several at once, each tried again while it may heal.

Knows HTTP ranges and redirects; knows nothing of models or snapshots. A file's address is resolved once on the Hub
(which gives the file's etag and size); the bytes then come from the host that it leads to, without the token when that
is another host.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin, urlsplit

from lqmf.errors import FULL, ConnectionBroken, DiskFull, IntegrityError, LqmfError, TransferError
from lqmf.hub import translate
from lqmf.hub.client import HubClient
from lqmf.hub.ranges import Range, split
from lqmf.hub.translate import Subject
from lqmf.model_files.refs import printable
from lqmf.records import RemoteFile
from lqmf.retry import RetryPolicy

if TYPE_CHECKING:
    import httpx2

_REDIRECTS = 10
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class TransferOptions:
    """Limits of a transfer: `connections` at once, ranges of `chunk_bytes`, a journal line after each
    `journal_bytes`."""

    connections: int = 4
    chunk_bytes: int = 16 << 20
    journal_bytes: int = 8 << 20
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_seconds: float = 30.0


@dataclass(frozen=True)
class Source:
    """The address of a file's bytes. `foreign` is another host than the Hub: it is sent no token."""

    url: str
    foreign: bool


@dataclass
class _Cursor:
    at: int
    end: int


class Partial(Protocol):
    """The receiver of a file's bytes: a journalled file (`journal.Partial`), or the beginning of a file in memory."""

    def missing(self) -> list[Range]:
        """Return the ranges that are still to be fetched, in bytes."""
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Keep `data`, which begins at `offset` of the file."""
        ...

    def flush(self) -> None:
        """Make the written bytes permanent."""
        ...

    def close(self) -> None:
        """Close the receiver until `missing` is asked again. May raise OSError."""
        ...


@dataclass
class FileTransfer:
    """The transfer of the ranges that `partial` misses of `file`. `on_bytes` is called with the length of each piece,
    `on_retry` before each new attempt, `on_queued` when every range waits for a connection or has one."""

    hub: HubClient
    http: httpx2.AsyncClient
    model: str
    commit: str
    file: RemoteFile
    partial: Partial
    slots: asyncio.Semaphore
    options: TransferOptions
    on_bytes: Callable[[int], None]
    on_retry: Callable[[LqmfError, float], None]
    on_queued: Callable[[], None] = lambda: None
    _source: Source | None = None
    _etag: str | None = None  # of the bytes; the same for each range, or the file changed in between
    _resolving: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """Fetch the missing ranges. Raises the transfer errors and DiskFull; bytes that arrived by then are written and
        flushed."""
        try:
            async with self.slots:
                await self.options.retry.run(self._ready, on_retry=self.on_retry)
            async with asyncio.TaskGroup() as group:
                for piece in split(self.partial.missing(), self.options.chunk_bytes):
                    group.create_task(self._piece(_Cursor(*piece)))
                self.on_queued()
            self.partial.flush()
        except ExceptionGroup as errors:
            raise _worst(errors, self.subject) from None
        except OSError as error:
            raise disk_error(error, self.subject) from None
        finally:
            with contextlib.suppress(OSError):  # then these bytes are not proven, and are fetched again
                self.partial.close()

    @property
    def subject(self) -> Subject:
        return self.hub.subject(self.model, None, self.file.path)

    async def _ready(self) -> None:
        with translate.translated(self.subject):
            await self._resolved()

    async def _piece(self, cursor: _Cursor) -> None:
        """Fetch one range. It keeps its slot while it waits, so that the other ranges do not ask a Hub that limits
        requests."""
        async with self.slots:
            while cursor.at < cursor.end:
                await self.options.retry.run(lambda: self._attempt(cursor), on_retry=self.on_retry)

    async def _attempt(self, cursor: _Cursor) -> None:
        """Continue where the range stopped. A break after some bytes is no failed attempt: the count of attempts starts
        anew."""
        before = cursor.at
        try:
            with translate.translated(self.subject):
                await self._read(cursor, await self._resolved())
        except ConnectionBroken as broken:
            self.partial.flush()
            if cursor.at == before:
                raise
            self.on_retry(broken, self.options.retry.base_seconds)
            await asyncio.sleep(self.options.retry.base_seconds)

    async def _read(self, cursor: _Cursor, source: Source) -> None:
        headers = {"Range": f"bytes={cursor.at}-{cursor.end - 1}", "Accept-Encoding": "identity"}
        if not source.foreign:
            headers = {**self.hub.headers(), **headers}
        async with self.http.stream("GET", source.url, headers=headers, follow_redirects=True) as response:
            skip = self._accepted(response, cursor, source)
            async for data in response.aiter_raw():  # as it comes: a collected block would be lost in a cut
                useful = data[skip : skip + cursor.end - cursor.at]
                skip = max(0, skip - len(data))
                if useful:
                    self.partial.write(cursor.at, useful)
                    cursor.at += len(useful)
                    self.on_bytes(len(useful))
                if cursor.at >= cursor.end and len(data) > len(useful):  # more than was asked for
                    return
        if cursor.at < cursor.end:
            raise self._short(cursor)

    def _short(self, cursor: _Cursor) -> ConnectionBroken:
        return ConnectionBroken(
            f"The answer for {self.subject} ended {cursor.end - cursor.at} bytes early.",
            "Run the same command again: it goes on where it stopped.",
        )

    def _accepted(self, response: httpx2.Response, cursor: _Cursor, source: Source) -> int:
        """Return how many bytes to skip: 0 where the answer is the requested range, the range's start where a server
        sends the whole file."""
        if response.status_code >= 400:
            raise self._refused(response, source)
        etag = _bare(response.headers.get("etag"))
        self._etag = self._etag or etag
        if etag and etag != self._etag:
            raise self._changed("its etag changed between two ranges")
        if _origin(str(response.url)) == _origin(self.hub.base_url()):
            self._check({"etag": etag or ""})
        if response.status_code == 200:
            return cursor.at
        told = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if not told or int(told[1]) != cursor.at or told[2] not in ("*", str(self.file.size_bytes)):
            raise self._changed("another range was sent than was asked for")
        return 0

    def _refused(self, response: httpx2.Response, source: Source) -> LqmfError:
        self._source = None  # a signed address may have run out: resolve again at the next attempt
        if response.status_code == 416:
            return self._changed("it is shorter than the Hub lists")
        if source.foreign and response.status_code < 500 and response.status_code != 429:
            return ConnectionBroken(
                f"The storage behind the Hub refused {self.subject} with status {response.status_code}.",
                "Run the same command again: it goes on where it stopped.",
            )
        return translate.from_status(response.status_code, response.headers, self.subject)

    async def _resolved(self) -> Source:
        async with self._resolving:
            if self._source is None:
                self._source = await self._resolve()
            return self._source

    async def _resolve(self) -> Source:
        """Follow the Hub's own redirects, as far as they stay on it; check that the file is still the listed one."""
        url = self.hub.file_url(self.model, self.file.path, self.commit)
        linked: dict[str, str] = {}
        for _ in range(_REDIRECTS):
            headers = {**self.hub.headers(), "Accept-Encoding": "identity"}
            response = await self.http.head(url, headers=headers, follow_redirects=False)
            if response.status_code >= 400:
                raise translate.from_status(response.status_code, response.headers, self.subject)
            linked = {**response.headers, **linked}
            target = urljoin(url, response.headers.get("location", ""))
            if not response.has_redirect_location:
                self._check(linked)
                return Source(url, foreign=False)
            if _origin(target) != _origin(self.hub.base_url()):
                self._check(linked)
                return Source(target, foreign=True)
            url = target
        raise self._changed("the Hub redirects in a circle")

    def _check(self, told: Mapping[str, str]) -> None:
        etag = _bare(told.get("x-linked-etag") or told.get("etag"))
        wanted = [known for known in (self.file.sha256, self.file.git_oid) if known]
        if etag and wanted and etag not in wanted:
            raise self._changed(f"its etag is {printable(etag, 80)}")
        if told.get("x-repo-commit", self.commit) != self.commit:
            raise self._changed("the Hub serves another commit")
        size = told.get("x-linked-size", "")
        if size.isdigit() and int(size) != self.file.size_bytes:
            raise self._changed(f"it has {size} bytes, not {self.file.size_bytes}")

    def _changed(self, how: str) -> IntegrityError:
        return IntegrityError(
            f"{self.subject} is not the file that the Hub listed: {how}.",
            "Run the same command again; if it stays so, a proxy or mirror changes the files.",
        )


def disk_error(error: OSError, what: object) -> LqmfError:
    """Return the error for `error`: DiskFull for a full disk, quota or file size limit, TransferError for another disk
    fault."""
    if error.errno in FULL:
        return DiskFull(
            f"The disk is full: {what} could not be written ({os.strerror(error.errno or 0)}).",
            "Free some space (lqmf disk), then run the same command again: it goes on where it stopped.",
        )
    return TransferError(f"{what} could not be written: {error.strerror}.", "Check the disk and its permissions.")


def _worst(errors: ExceptionGroup[Exception], what: object) -> Exception:
    """Return the error to report: an error that cannot heal comes before errors that may."""
    flat = [disk_error(e, what) if isinstance(e, OSError) else e for e in errors.exceptions]
    return next((e for e in flat if not (isinstance(e, LqmfError) and e.transient)), flat[0])


def _bare(etag: str | None) -> str | None:
    return etag.removeprefix("W/").strip('"') if etag else None


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
