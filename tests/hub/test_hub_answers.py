"""Whatever a Hub's address answers, or does not: an error in words, in time, in little memory."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import json
import resource
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from lqmf.errors import HubSilent, LqmfError, NotTheHub
from lqmf.hub import auth
from lqmf.hub.client import HubClient
from lqmf.hub.download import inspect_or_find
from lqmf.hub.metadata import inspect
from lqmf.hub.published import published_ggufs
from lqmf.records import ModelRef
from tests.hub.models import small_model
from tests.hub.server import LocalHub

ORG = ModelRef("hub", "org/name")
WAIT_SECONDS = 0.5  # here, in place of twenty
LONGEST_SECONDS = 20.0
MOST_BYTES = 400 << 20
SHA = "a" * 40
FILE = {"rfilename": "model.safetensors", "size": 9, "blobId": "b" * 40}


def told(**changed: Any) -> bytes:
    """A description of a repository with some values that are not the Hub's."""
    return json.dumps({"id": "org/name", "sha": SHA, "private": False, "siblings": [FILE], **changed}).encode()


DOCUMENTS = [
    b"", b" ", b"null", b"1", b"[]", b"{}", b'"x"', b"nan", b"{", b"[" * 200_000, b"{\"a\":" * 50_000, b"\xff\xfe\x00",
    b"\x00" * 1000, b"9" * 100_000, b"[{},{}]", b"<html>log in</html>", b'{"id": "org/name"}', b'{"error": "no"}',
    told(id=None), told(id=5), told(id=[]), told(sha=None), told(sha=5), told(sha="main"), told(sha="\n" * 40),
    told(private="yes"), told(gated=[]), told(siblings=3), told(siblings={}), told(siblings=[1]), told(siblings=[{}]),
    told(siblings=[{"rfilename": 1}]), told(siblings=[{"rfilename": None}]), told(siblings=[{**FILE, "size": "many"}]),
    told(siblings=[{**FILE, "size": -1}]), told(siblings=[{**FILE, "size": 1e30}]),
    told(siblings=[{**FILE, "size": 2**70}]),
    told(siblings=[{**FILE, "blobId": 7}]), told(siblings=[{**FILE, "lfs": 7}]), told(siblings=[{**FILE, "lfs": {}}]),
    told(siblings=[{**FILE, "lfs": {"size": None, "sha256": "c" * 64}}]),
    told(siblings=[{**FILE, "lfs": {"size": -5, "sha256": "c" * 64}}]), told(siblings=[{**FILE, "rfilename": "../x"}]),
    told(siblings=[{**FILE, "rfilename": "\x1b[2J"}]), told(tags=3), told(tags=[1]), told(config=[]), told(config="x"),
    told(cardData=7), told(safetensors=3), told(safetensors={"parameters": []}),
    told(safetensors={"parameters": {"BF16": "x"}}),
]  # fmt: skip


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def packed(mebibytes: int) -> bytes:
    """So many MiB of spaces, as gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b" " * (1 << 20)) for _ in range(mebibytes)) + packer.flush()


def forever(first: bytes, piece: bytes, times: int = 100_000) -> Iterator[bytes]:
    yield first
    for _ in range(times):
        yield piece


WHOLE = told()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TRANSPORTS: dict[str, dict[str, Any]] = {
    "HTTP/0.9": {"sent": WHOLE},
    "noise": {"sent": bytes(range(256)) * 40},
    "closed at once": {"sent": b""},
    "silent": {"sent": b"", "seconds": 30},
    "a status alone": {"sent": b"HTTP/1.1 200 OK\r\n", "seconds": 30},
    "status 999": {"sent": http(WHOLE, status="999 Odd")},
    "status 204": {"sent": http(b"", status="204 No Content")},
    "status 206": {"sent": http(WHOLE, status="206 Partial Content")},
    "nowhere": {"sent": http(b"", status="302 Found")},
    "elsewhere": {"sent": http(b"", "Location: gopher://x", status="302 Found")},
    "round and round": {"sent": http(b"", "Location: /api/models/org/name", status="302 Found"), "times": 30},
    "shorter than it says": {"sent": http(WHOLE, length=len(WHOLE) + 9)},
    "a negative length": {"sent": http(WHOLE, length=-5)},
    "two lengths": {"sent": http(WHOLE, "Content-Length: 3")},
    "no chunks": {"sent": CHUNKED + b"zz\r\n"},
    "a huge chunk": {"sent": CHUNKED + b"ffffffffffffffffff\r\nx"},
    "a long header": {"sent": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000},
    "many headers": {"sent": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000},
    "no gzip": {"sent": http(WHOLE, "Content-Encoding: gzip")},
    "half a gzip": {"sent": http(gzip.compress(WHOLE)[:-9], "Content-Encoding: gzip")},
    "another packing": {"sent": http(WHOLE, "Content-Encoding: zstd")},
    "packed twice": {"sent": http(gzip.compress(gzip.compress(WHOLE)), "Content-Encoding: gzip, gzip")},
    "a bomb": {"sent": http(packed(1500), "Content-Encoding: gzip")},
    "a bomb that parses": {"sent": http(gzip.compress(b"[" + b"{}," * 2_500_000 + b"{}]"), "Content-Encoding: gzip")},
    "a bomb as an error": {"sent": http(packed(300), "Content-Encoding: gzip", status="400 Bad")},
    "without an end": {"sent": list(forever(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536, 400))},
    "dripping headers": {"sent": list(forever(b"HTTP/1.1 200 OK\r\nX: ", b"x", 300)), "pause": 0.1},
    "a dripping body": {"sent": list(forever(b"HTTP/1.1 200 OK\r\n\r\n", b" ", 300)), "pause": 0.1},
}  # fmt: skip


@pytest.fixture
def quick(client: HubClient) -> HubClient:
    return dataclasses.replace(client, timeout_seconds=WAIT_SECONDS)


def refused(hub: HubClient) -> LqmfError:
    """The error that asking ends in, which is there in time and takes little memory."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LqmfError) as caught:
        asyncio.run(inspect(ORG, hub=hub))
    assert time.monotonic() - started < LONGEST_SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < MOST_BYTES
    assert caught.value.remedy
    assert caught.value.message.isprintable()
    return caught.value


@pytest.mark.parametrize("body", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_a_document_that_no_hub_gives_is_an_error_in_words_and_is_not_asked_for_again(
    hub: LocalHub, quick: HubClient, body: bytes
) -> None:
    hub.fail("/api/models/*", "raw", sent=http(body))
    refused(quick)


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_whatever_a_server_does_it_ends_in_words_in_time(hub: LocalHub, quick: HubClient, kind: str) -> None:
    hub.fail("/api/models/*", "raw", **{"times": 3, **TRANSPORTS[kind]})
    refused(quick)
    hub._faults.clear()  # only what may heal is asked for again


def test_a_silent_hub_is_asked_once_and_the_way_on_is_told(hub: LocalHub, quick: HubClient) -> None:
    hub.fail("/api/models/*", "raw", seconds=30)
    error = refused(quick)
    assert isinstance(error, HubSilent)
    assert "did not answer within" in error.message
    assert "lqmf plan" in error.remedy
    assert len(hub.requests) == 1


def test_what_is_wrong_with_an_answer_is_named(hub: LocalHub, quick: HubClient) -> None:
    hub.fail("/api/models/*", "raw", sent=http(told(siblings=[{}])))
    error = refused(quick)
    assert isinstance(error, NotTheHub)
    assert "siblings.0.rfilename is missing" in error.message


def test_lists_files_and_accounts_are_read_within_the_same_limits(hub: LocalHub, quick: HubClient) -> None:
    bomb = http(packed(100), "Content-Encoding: gzip")
    hub.fail("/api/models", "raw", sent=bomb)
    hub.fail("/api/models/org/name/tree/*", "raw", sent=bomb)
    hub.fail("*/config.json", "raw", sent=bomb)
    hub.fail("/api/whoami-v2", "raw", sent=bomb)
    for ask in (
        lambda: asyncio.run(published_ggufs("org/name", hub=quick)),
        lambda: asyncio.run(quick.files("org/name", SHA)),
        lambda: asyncio.run(quick.read_small("org/name", "config.json", SHA)),
        lambda: auth.login("hf_validtoken", endpoint=hub.url),
    ):
        with pytest.raises(LqmfError):
            ask()


def test_the_next_page_of_a_list_is_never_asked_for_elsewhere(hub: LocalHub, quick: HubClient) -> None:
    """Whoever answers so would be sent the token."""
    link = f'Link: <{hub.cdn_url}/steal>; rel="next"'
    hub.fail("/api/models/org/name/tree/*", "raw", sent=http(b"[]", link))
    with pytest.raises(NotTheHub):
        asyncio.run(quick.files("org/name", SHA))
    assert [request.path for request in hub.requests] == [f"/api/models/org/name/tree/{SHA}"]


def test_a_model_that_is_here_needs_no_hub_that_answers(
    hub: LocalHub, quick: HubClient, models_dir: Any, options: Any
) -> None:
    from lqmf.hub.download import fetch

    hub.add_repo("org/name", small_model())
    info = asyncio.run(inspect(ORG, hub=quick))
    asyncio.run(fetch(info, models_dir, hub=quick, emit=lambda _: None, options=options))
    hub.fail("/api/models/*", "raw", seconds=30)
    assert asyncio.run(inspect_or_find(ORG, models_dir, hub=quick)).commit == info.commit
