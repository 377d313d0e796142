"""Reads what an address answers: within limits of time and of unpacked size, and through a schema.

A server may be silent, drip, pack gigabytes into a kilobyte, or be no Hub at all; whatever it does, the answer is here
in time, or an error is. Knows HTTP and the forms of the Hub's answers; knows nothing of models.
"""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from lqmf import workspace
from lqmf.errors import HubSilent
from lqmf.hub import translate
from lqmf.hub.translate import Subject

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")
Answered = Callable[[], None]  # called when the first byte of an answer is there

API_BYTES = 8 << 20  # unpacked, of an answer of the API: a description of 30,000 files has less
SLOWEST_BYTES_PER_SECOND = 4096  # of an answer that is longer under way than its first byte may be
_UNPACKED_AT_ONCE = 1 << 20
_GZIP_OR_ZLIB = 47  # zlib's wbits: the header says which of both
Query = Mapping[str, str | int | Sequence[str]]


# ---------------------------------------------------------------- the forms of answers


def _must_be_size(size: int) -> None:
    """Raise ValueError for a number of bytes that no file has."""
    if not 0 <= size < workspace.LARGEST:
        raise ValueError("is no file's size")


@dataclass(frozen=True)
class LfsPart:
    """A file's size and SHA-256, where it is kept in LFS."""

    size: int
    sha256: str = ""
    oid: str = ""  # the SHA-256, as a tree lists it

    def __post_init__(self) -> None:
        _must_be_size(self.size)


@dataclass(frozen=True)
class Sibling:
    """A file in the description of a repository."""

    rfilename: str
    size: int | None = None
    blobId: str | None = None  # noqa: N815 - the Hub's spelling
    lfs: LfsPart | None = None

    def __post_init__(self) -> None:
        _must_be_size(self.size or 0)


@dataclass(frozen=True)
class TreeEntry:
    """An entry of a repository's tree; `type` is "file" or "directory"."""

    type: str
    path: str
    oid: str | None = None
    size: int = 0
    lfs: LfsPart | None = None

    def __post_init__(self) -> None:
        _must_be_size(self.size)


@dataclass(frozen=True)
class Counts:
    """The parameters of a repository's weights, by type."""

    parameters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Described:
    """The Hub's description of a repository, as far as it is used; names are the Hub's."""

    id: str
    sha: str | None = None
    private: bool | None = None
    gated: bool | str | None = None
    siblings: tuple[Sibling, ...] | None = None
    tags: tuple[str, ...] | None = None
    config: Mapping[str, Any] | None = None
    cardData: Mapping[str, Any] | None = None  # noqa: N815 - the Hub's spelling
    safetensors: Counts | None = None


@dataclass(frozen=True)
class Org:
    """An organisation of an account."""

    name: str = ""


@dataclass(frozen=True)
class AccessToken:
    """What a token may do: "read", "write" or "fineGrained"."""

    role: str | None = None


@dataclass(frozen=True)
class Auth:
    """How an account's owner was recognized."""

    accessToken: AccessToken | None = None  # noqa: N815 - the Hub's spelling


@dataclass(frozen=True)
class Account:
    """The account that a token belongs to."""

    name: str
    fullname: str | None = None
    type: str | None = None
    isPro: bool | None = None  # noqa: N815 - the Hub's spelling
    orgs: tuple[Org, ...] | None = None
    auth: Auth | None = None


# ---------------------------------------------------------------- reading within limits


def get(
    url: str,
    headers: Mapping[str, str],
    subject: Subject,
    *,
    seconds: float,
    most_bytes: int = API_BYTES,
    query: Query | None = None,
    answered: Answered = lambda: None,
) -> tuple[bytes, Mapping[str, str]]:
    """Return the unpacked body of an answer, and its headers.

    Raises HubSilent where it takes more than `seconds` and brings less than SLOWEST_BYTES_PER_SECOND, ValueError where
    it is longer than `most_bytes` or packed in a way that was not asked for, and the errors of HTTP and of the Hub.
    """
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    asked = {**headers, "Accept-Encoding": "gzip"}
    started = time.monotonic()
    with (
        _timed(subject, seconds),
        get_session().stream("GET", url, params=query, headers=asked, timeout=seconds) as response,
    ):
        answered()
        if response.status_code >= 400:  # the body of an error is not read
            raise translate.from_status(response.status_code, response.headers, subject)
        if response.status_code != 200:
            raise ValueError(f"status {response.status_code}")
        body = bytearray()
        for piece in _unpacked(response):
            body += piece
            if len(body) > most_bytes:
                raise TooLong(f"more than {most_bytes >> 20} MiB")
            took = time.monotonic() - started
            if took > seconds and len(body) < took * SLOWEST_BYTES_PER_SECOND:
                raise silent(subject, seconds)
        return bytes(body), response.headers


@contextmanager
def _timed(subject: Subject, seconds: float) -> Iterator[None]:
    """Raise HubSilent where the server sends nothing for `seconds`."""
    import httpx2

    try:
        yield
    except (httpx2.ReadTimeout, httpx2.WriteTimeout):
        raise silent(subject, seconds) from None


class TooLong(ValueError):
    """The error for an answer that is longer than what was asked for can be."""


def _unpacked(response: httpx2.Response) -> Iterator[bytes]:
    """Yield the body, a megabyte at the most at once, whatever it was packed into."""
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing in ("", "identity"):
        yield from response.iter_raw()
        return
    if packing not in ("gzip", "deflate"):
        raise ValueError(f"packed as {packing[:20]}")
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        for piece in response.iter_raw():
            while piece:
                yield unpacker.decompress(piece, _UNPACKED_AT_ONCE)
                piece = unpacker.unconsumed_tail
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof:
        raise ValueError("it ends too early")


def silent(subject: Subject, seconds: float) -> HubSilent:
    """Return the error for a server that accepts the connection, and does not answer in time."""
    return HubSilent(
        f"{subject.endpoint} took the question about {subject} and did not answer within {seconds:.0f} seconds.",
        "Try again later, or check the network (and HF_ENDPOINT, HTTPS_PROXY where set). A model already in models/ "
        "needs none: `lqmf disk` lists them.",
    )


async def in_time(call: Callable[[Answered], T], subject: Subject, seconds: float) -> T:
    """Return what `call` returns, from a thread of its own; it calls its argument when an answer begins. Raises
    HubSilent where that is not within `seconds`: the thread is left to itself then, and keeps no process alive."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()
    begun = asyncio.Event()

    def tell(act: Callable[[], None]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(act)

    def settle(value: T | None, error: BaseException | None) -> None:
        if result.done():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]

    def work() -> None:
        try:
            value = call(lambda: tell(begun.set))
        except Exception as error:  # noqa: BLE001 - the top of a thread: whatever it was, it is raised where it is waited for
            failure = error
            tell(lambda: settle(None, failure))
        else:
            tell(lambda: settle(value, None))

    threading.Thread(target=work, name="hub", daemon=True).start()
    beginning: asyncio.Future[Any] = asyncio.ensure_future(begun.wait())
    waited: set[asyncio.Future[Any]] = {result, beginning}
    try:
        done, _ = await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise silent(subject, seconds)
        return await result
    finally:
        beginning.cancel()
        result.cancel()  # where it is not there yet: nobody waits for it any more
