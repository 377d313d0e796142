"""Each SDK against a far end that misbehaves: every fault is one of our errors, in time, and holds no key."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from lqmf.errors import (
    BadAnswer,
    BadRequest,
    KeyRefused,
    ProviderBusy,
    ProviderError,
    ProviderUnavailable,
)
from lqmf.providers.base import Completion, Provider
from tests.providers.places import ASKED, GOOD, KEYS, WIRED, Advice, provider, streamed
from tests.providers.wire import TOKENS, Behaviour, Server, says, serving

STATUSES = {
    400: BadRequest, 401: KeyRefused, 403: KeyRefused, 404: BadRequest, 429: ProviderBusy,
    500: ProviderUnavailable, 503: ProviderUnavailable, 529: ProviderUnavailable,
}  # fmt: skip
BAD_ANSWERS = {
    "not JSON": says("I would take Q4_K_M."),
    "cut JSON": says('{"type": "Q4'),
    "another schema": says({"verdict": "Q4_K_M"}),
    "wrong types": says({"type": ["Q4_K_M"], "bits": "many"}),
    "more than was asked": says({**GOOD, "command": "rm -rf /"}),
    "a refusal": says({}, end="refusal"),
    "empty": says(""),
    "spaces": says("  \n "),
    "a tool call": says(GOOD, end="tool"),
    "out of tokens": says(GOOD, end="length"),
}
TIMEOUT_S = 0.4


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(params=WIRED)
def far(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> Provider:
    return provider(tmp_path, server, request.param)


def completed(far: Provider, timeout_s: float = 5.0) -> Completion[Advice]:
    return asyncio.run(far.complete(ASKED, Advice, max_tokens=100, timeout_s=timeout_s))


def failed(work, kind: type[ProviderError]) -> ProviderError:
    """The error that `work` raises; nothing of an SDK's hangs on to it, and no key is in it."""
    with pytest.raises(kind) as caught:
        work()
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    shown = [repr(error), str(error.to_json()), "".join(traceback.format_exception(error)), error.remedy]
    assert not any(key in text for key in KEYS.values() for text in shown)
    assert error.message
    assert error.remedy
    return error


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_an_error_of_ours_without_the_key_that_the_far_end_repeats(far, server, status):
    server.script = [Behaviour(status=status)]
    error = failed(lambda: completed(far), STATUSES[status])
    assert str(status) in error.message
    assert far.name in error.message
    assert type(failed(lambda: asyncio.run(streamed(far)), STATUSES[status])) is type(error)
    assert len([one for one in server.asked if "/models" not in one["path"] or "ontent" in one["path"]]) == 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7.0), ({}, None), ({"Retry-After": "soon"}, None), ({"Retry-After": "-1"}, 0.0)],
)
def test_retry_after_is_told_in_seconds(far, server, headers, seconds):
    server.script = [Behaviour(status=429, headers=headers)]
    assert failed(lambda: completed(far), ProviderBusy).details.get("retry_after_seconds") == seconds


def test_retry_after_may_be_a_date(far, server):
    at = time.time() + 100
    server.script = [
        Behaviour(status=429, headers={"Retry-After": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(at))})
    ]
    told = failed(lambda: completed(far), ProviderBusy).details["retry_after_seconds"]
    assert 90 < told <= 100


@pytest.mark.parametrize("how", BAD_ANSWERS)
def test_what_is_no_answer_is_a_bad_answer_and_its_tokens_are_counted(far, server, how):
    server.script = [BAD_ANSWERS[how]]
    error = failed(lambda: completed(far), BadAnswer)
    assert (error.details["input_tokens"], error.details["output_tokens"]) == TOKENS
    assert "rm -rf" not in error.message


@pytest.mark.parametrize("end", ["refusal", "tool", "length"])
def test_prose_that_ends_badly_is_a_bad_answer(far, server, end):
    server.script = [Behaviour(pieces=("Well, ", "no."), end=end)]
    failed(lambda: asyncio.run(streamed(far)), BadAnswer)


@pytest.mark.parametrize("raw", [b"<html>no</html>", b'{"type": "mess', b"[]", b"null", b'{"a": 1}', b"\xff\xfe"])
def test_a_body_that_is_no_answer_at_all_is_a_provider_error(far, server, raw):
    server.script = [Behaviour(raw=raw)]
    failed(lambda: completed(far), BadAnswer)


@pytest.mark.parametrize(
    "how",
    [
        says(GOOD, first_byte_s=5.0),
        says(GOOD, stall_after=20),
        Behaviour(pieces=("a", "b"), first_byte_s=5.0),
        Behaviour(pieces=("a", "b"), stall_after=1),
        Behaviour(pieces=("a", "b"), stall_after=0),
    ],
    ids=["slow first byte", "stalled", "slow first byte, prose", "stalled prose", "stalled before prose"],
)
def test_silence_ends_within_its_time(far, server, how):
    server.script = [how]
    started = time.perf_counter()
    prose = bool(how.pieces)
    failed(lambda: asyncio.run(streamed(far, TIMEOUT_S)) if prose else completed(far, TIMEOUT_S), ProviderUnavailable)
    assert time.perf_counter() - started < 5.0


@pytest.mark.parametrize("how", [says(GOOD, cut_after=20), says(GOOD, cut_after=0)])
def test_a_body_that_breaks_off_may_heal(far, server, how):
    server.script = [how]
    failed(lambda: completed(far), ProviderUnavailable)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_prose_that_breaks_off_may_heal(far, server, after):
    server.script = [Behaviour(pieces=("a", "b"), cut_after=after)]
    failed(lambda: asyncio.run(streamed(far)), ProviderUnavailable)


def test_an_error_in_the_middle_of_prose_is_what_it_says(far, server):
    kind = "overloaded_error" if far.name == "claude" else "server_error"
    server.script = [Behaviour(pieces=("a",), in_stream_error=kind)]
    failed(lambda: asyncio.run(streamed(far)), ProviderUnavailable)


@pytest.mark.parametrize("name", WIRED)
def test_nobody_there_is_unavailable(tmp_path, name):
    with serving() as gone:
        pass
    failed(lambda: completed(provider(tmp_path, gone, name)), ProviderUnavailable)
    failed(lambda: asyncio.run(streamed(provider(tmp_path, gone, name))), ProviderUnavailable)


def test_a_cancelled_call_hangs_up(far, server):
    server.script = [says(GOOD, stall_after=5)]

    async def cancelled() -> None:
        work = asyncio.ensure_future(far.complete(ASKED, Advice, max_tokens=9, timeout_s=60))
        while not server.asked:
            await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert await asyncio.to_thread(server.broken_off.wait, 5)

    asyncio.run(cancelled())


def test_google_says_400_to_a_key_that_is_none(tmp_path, server, monkeypatch):
    from tests.providers.wire import Gemini

    invalid = {"error": {"code": 400, "message": "no", "details": [{"reason": "API_KEY_INVALID"}]}}
    monkeypatch.setattr(Gemini, "error", lambda self, status, headers: invalid)
    server.script = [Behaviour(status=400)]
    failed(lambda: completed(provider(tmp_path, server, "gemini")), KeyRefused)


@pytest.mark.parametrize("status", [400, 404, 500])
@pytest.mark.parametrize(
    "body",
    [
        {"error": "no room for it"},
        {"error": {"message": "no room for it", "type": "api_error"}},
        {"error": {"error": "no room for it"}},
        {"detail": "no room for it"},
        {"detail": [{"loc": ["body"], "msg": "no room for it", "type": "value_error"}]},
        {"message": "no room for it"},
        "no room for it",
    ],
    ids=str,
)
def test_a_local_server_says_in_its_own_words_what_it_lacks(tmp_path, server, body, status):
    server.script = [Behaviour(status=status, error=body)]
    error = failed(lambda: completed(provider(tmp_path, server, "local")), ProviderError)
    assert "no room for it" in error.message


def test_an_error_in_the_place_of_an_answer_is_told_in_its_words(tmp_path, server):
    server.script = [Behaviour(raw=b'{"error": {"message": "the model failed to load"}}')]
    error = failed(lambda: completed(provider(tmp_path, server, "local")), BadAnswer)
    assert "the model failed to load" in error.message


@pytest.mark.parametrize(
    ("listed", "asked"),
    [
        (("text-embedding-nomic-embed-text-v1.5", "bge-m3", "qwen3-4b"), "qwen3-4b"),
        (("qwen3-reranker-0.6b", "whisper-large-v3", "gemma-3-4b-it"), "gemma-3-4b-it"),
        (("nomic-embed-text",), "nomic-embed-text"),
    ],
)
def test_of_the_listed_models_one_that_writes_is_asked(tmp_path, server, listed, asked):
    server.listed, server.script = listed, [says(GOOD)]
    completed(provider(tmp_path, server, "local", local_model=""))
    assert server.asked[-1]["body"]["model"] == asked
