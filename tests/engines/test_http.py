"""Whatever a far end does, HttpEngine says what happened and what to do, and never shows the key."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.engines.http.engine import HttpEngine
from lqmf.engines.http.sse import LONGEST_LINE, LineTooLong, events
from lqmf.engines.promise import Sampling
from lqmf.errors import (
    ConnectionBroken,
    HubUnavailable,
    LqmfError,
    ModelNotFound,
    RateLimited,
    TransferError,
    Unauthorized,
    UsageError,
)
from tests.engines.openai_server import Server, serving

KEY = "sk-very-secret-0123456789"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as far_end:
        yield far_end


def ask(server: Server, body: bytes, status: int = 200, cut: bool = False, **headers: str) -> str:
    server.script = (status, headers, body, cut)
    with HttpEngine(server.url, "m", KEY) as engine:
        return "".join(piece.text for piece in engine.generate("Hello", Sampling(max_tokens=9, stop=("x",))))


def chunk(text: str, **more: str) -> bytes:
    return f"data: {json.dumps({'choices': [{'text': text, **more}]})}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def test_a_request_carries_the_key_the_model_and_the_sampling(server):
    assert ask(server, chunk("a") + chunk("b") + DONE) == "ab"
    assert server.asked[-1] == {
        "path": "/v1/completions",
        "authorization": f"Bearer {KEY}",
        "model": "m",
        "stream": True,
        "prompt": "Hello",
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 0,
        "stop": ["x"],
    }


def test_comments_other_fields_and_empty_chunks_are_skipped(server):
    noise = b': ping\n\nevent: delta\nid: 7\ndata: {"choices": []}\n\ndata: {"usage": {}}\n\n'
    assert ask(server, noise + chunk("a") + noise + chunk("", finish_reason="stop")) == "a"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, UsageError),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, ModelNotFound),
        (429, RateLimited),
        (500, HubUnavailable),
        (503, HubUnavailable),
    ],
)
def test_each_status_is_an_error_of_its_own(server, status, error):
    body = json.dumps({"error": {"message": f"No: key {KEY} \x1b[31m is wrong"}}).encode()
    with pytest.raises(error, match=f"answered {status}: No") as caught:
        ask(server, body, status)
    assert caught.value.remedy
    assert KEY not in json.dumps(caught.value.to_json())
    assert "\x1b" not in caught.value.message


def test_a_limit_says_how_long_to_wait(server):
    with pytest.raises(RateLimited) as caught:
        ask(server, b"slow down", 429, **{"Retry-After": "7"})
    assert caught.value.retry_after_seconds == 7


def test_a_page_of_html_is_quoted_in_short(server):
    with pytest.raises(HubUnavailable) as caught:
        ask(server, b"<html>" + b"x" * 100_000, 502)
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    ("body", "cut", "error", "says"),
    [
        (chunk("a"), False, ConnectionBroken, "in the middle"),
        (chunk("a"), True, ConnectionBroken, "broke off"),
        (chunk("a") + b"data: {nonsense\n\n", False, TransferError, "not JSON"),
        (b"data: [1, 2]\n\n", False, TransferError, "no object"),
        (b'data: {"error": {"message": "out of memory"}}\n\n', False, TransferError, "out of memory"),
        (b"data: " + b"x" * (LONGEST_LINE + 1), False, TransferError, "without an end"),
        (b"", False, ConnectionBroken, "in the middle"),
    ],
)
def test_a_stream_that_goes_wrong_is_never_taken_for_an_answer(server, body, cut, error, says):
    with pytest.raises(error, match=says):
        ask(server, body, cut=cut)


def test_an_address_where_nobody_is_says_so():
    with HttpEngine("http://127.0.0.1:9/v1", "m") as engine, pytest.raises(ConnectionBroken, match="cannot be reached"):
        list(engine.generate("Hello", Sampling()))


def test_what_is_no_address_is_a_usage_error():
    with pytest.raises(UsageError, match="no HTTP address"):
        HttpEngine("localhost:8080", "m")


def test_a_password_in_an_address_is_not_shown():
    with HttpEngine("http://me:hidden@127.0.0.1:9/v1", "m") as engine, pytest.raises(LqmfError) as caught:
        list(engine.generate("Hello", Sampling()))
    assert "hidden" not in str(caught.value)


@given(
    texts=st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1), max_size=5),
    size=st.integers(1, 9),
)
def test_events_are_the_same_however_their_bytes_arrive(texts, size):
    data = "".join(f"data: {text}\r\n\r\n" for text in texts).encode()
    assert list(events(data[i : i + size] for i in range(0, len(data), size))) == texts


def test_an_event_of_several_lines_is_one():
    assert list(events([b"data: a\ndata: b\n\n", b"data:c"])) == ["a\nb", "c"]


def test_an_endless_line_is_refused():
    with pytest.raises(LineTooLong):
        list(events(b"x" * 65536 for _ in range(100)))
