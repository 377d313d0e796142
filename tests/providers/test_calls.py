"""What the program asks through: it retries what heals, falls back, keeps to its time and budget, and records."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import (
    BadAnswer,
    BudgetSpent,
    KeyRefused,
    ProviderBusy,
    ProviderError,
    ProviderNotReady,
    ProviderUnavailable,
    StoreError,
)
from lqmf.providers import calls as calls_module
from lqmf.providers import registry
from lqmf.providers.base import Message, Provider, Usage
from lqmf.providers.calls import Calls, Ledger
from lqmf.providers.scripted import Line, Scripted
from tests.providers.places import ASKED, GOOD, WIRED, Advice, Book, calls, configured
from tests.providers.wire import MODEL, TOKENS, Behaviour, Server, says, serving


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "BACKOFF_S", 0.01)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(says(GOOD)) as running:
        yield running


@pytest.fixture
def book() -> Book:
    return Book()


def wired(
    tmp_path: Path, server: Server, *names: str, book: Book | None = None, told: list[str] | None = None, **more: Any
) -> Calls:
    """Calls that ask `names` in turn, all of them at `server`."""
    given = configured(tmp_path, server, *names, **more)
    return calls(given, partial(registry.build, settings=given, artifacts=tmp_path), book, told)


def scripted(tmp_path: Path, *lines: Line, book: Book | None = None, **more: Any) -> Calls:
    """Calls that ask one script."""
    script = Scripted(lines)
    return calls(configured(tmp_path, None, "scripted", **more), lambda name: script, book)


def ask(of: Calls, deadline_s: float | None = 10.0) -> Any:
    return asyncio.run(of.complete("plan", ASKED, Advice, deadline_s=deadline_s))


async def prose(of: Calls, deadline_s: float | None = 10.0) -> list[str]:
    return [piece async for piece in of.stream("explain", ASKED, deadline_s=deadline_s)]


# ---------------------------------------------------------------- retries


@pytest.mark.parametrize("name", WIRED)
def test_what_heals_is_asked_again_until_it_answers(tmp_path, server, book, name):
    server.script = [Behaviour(status=429), Behaviour(status=529), says(GOOD, cut_after=9), says(GOOD)]
    assert ask(wired(tmp_path, server, name, book=book, local_model="m")).value == Advice(**GOOD)
    outcomes = ["provider_busy", "provider_unavailable", "provider_unavailable", "ok"]
    assert [row["outcome"] for row in book.rows] == outcomes
    assert len(server.asked) == 4


@pytest.mark.parametrize("how", [Behaviour(status=400), Behaviour(status=401), Behaviour(status=403), says("no JSON")])
@pytest.mark.parametrize("in_prose", [False, True])
def test_what_does_not_heal_is_asked_once(tmp_path, server, how, in_prose):
    server.script = [how] if how.status != 200 or not in_prose else [Behaviour(text="", end="refusal")]
    asked = wired(tmp_path, server, "claude")
    with pytest.raises(ProviderError):
        asyncio.run(prose(asked)) if in_prose else ask(asked)
    assert len(server.asked) == 1


def test_no_more_is_asked_than_the_setting_says(tmp_path, server):
    server.script = [Behaviour(status=500)]
    with pytest.raises(ProviderUnavailable):
        ask(wired(tmp_path, server, "openai", max_retries=2))
    assert len(server.asked) == 3


def test_retry_after_is_waited_for(tmp_path, server):
    server.script = [Behaviour(status=429, headers={"Retry-After": "0.4"}), says(GOOD)]
    started = time.perf_counter()
    ask(wired(tmp_path, server, "openai"))
    assert time.perf_counter() - started >= 0.4


def test_a_retry_after_beyond_the_deadline_ends_it_at_once(tmp_path, server):
    server.script = [Behaviour(status=429, headers={"Retry-After": "30"})]
    with pytest.raises(ProviderBusy):
        ask(wired(tmp_path, server, "openai"), deadline_s=5.0)
    assert len(server.asked) == 1


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    "how",
    [says(GOOD, first_byte_s=30.0), says(GOOD, stall_after=9)],
    ids=["slow first byte", "stalled"],
)
@pytest.mark.parametrize("name", WIRED)
def test_an_answer_that_does_not_come_ends_with_the_deadline(tmp_path, server, name, how):
    server.script = [how]
    asked = wired(tmp_path, server, name, local_model="m")
    with pytest.raises(ProviderUnavailable, match="did not answer in time"):
        ask(asked, deadline_s=0.5)


@pytest.mark.parametrize(
    "how",
    [
        Behaviour(pieces=("a", "b"), first_byte_s=30.0),
        Behaviour(pieces=("a", "b"), stall_after=1),
        Behaviour(pieces=tuple("a" * 300), between_s=0.1),
    ],
    ids=["slow first byte", "stalled", "without end"],
)
def test_prose_ends_with_the_deadline(tmp_path, server, how):
    server.script = [how]
    started = time.perf_counter()
    with pytest.raises(ProviderUnavailable):
        asyncio.run(prose(wired(tmp_path, server, "claude"), deadline_s=0.8))
    assert time.perf_counter() - started < 10.0


def test_a_deadline_is_shared_with_those_that_come_after(tmp_path):
    with serving(says(GOOD, first_byte_s=30.0)) as slow, serving(says(GOOD)) as quick:
        given = configured(tmp_path, quick, "claude", "openai", anthropic_base_url=slow.url("claude"))
        done = ask(calls(given, partial(registry.build, settings=given, artifacts=tmp_path)), deadline_s=2.0)
    assert done.provider == "openai"


def test_a_cancel_is_no_failure_hangs_up_and_is_recorded(tmp_path, server, book):
    server.script = [says(GOOD, stall_after=9)]
    asked = wired(tmp_path, server, "gemini", book=book)

    async def cancelled() -> None:
        work = asyncio.ensure_future(asked.complete("plan", ASKED, Advice))
        while not server.asked:
            await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert await asyncio.to_thread(server.broken_off.wait, 5)

    asyncio.run(cancelled())
    assert [row["outcome"] for row in book.rows] == ["cancelled"]
    assert asked.health()["gemini"].failures == 0


# ---------------------------------------------------------------- fallbacks


def test_the_next_is_asked_where_one_cannot_and_the_reason_is_told_once(tmp_path):
    told: list[str] = []
    with serving(Behaviour(status=401)) as refusing, serving(says(GOOD)) as good:
        given = configured(tmp_path, good, "claude", "openai", anthropic_base_url=refusing.url("claude"))
        asked = calls(given, partial(registry.build, settings=given, artifacts=tmp_path), told=told)
        assert [ask(asked).provider, ask(asked).provider] == ["openai", "openai"]
    (notice,) = told
    assert notice == "claude answered 401: it refuses the key. openai is asked in its place."


def test_a_bad_answer_is_a_reason_to_ask_the_next(tmp_path, server, book):
    server.script = [says("no JSON"), says(GOOD)]
    assert ask(wired(tmp_path, server, "claude", "gemini", book=book)).provider == "gemini"
    assert [(row["provider"], row["outcome"]) for row in book.rows] == [("claude", "bad_answer"), ("gemini", "ok")]


def test_when_all_fail_each_reason_is_told(tmp_path, server):
    server.script = [Behaviour(status=401)]
    with pytest.raises(KeyRefused) as caught:
        ask(wired(tmp_path, server, "claude", "openai"))
    assert "claude answered 401" in caught.value.message
    assert "openai answered 401" in caught.value.message


def test_a_missing_key_names_the_variable_the_line_and_the_offline_way(tmp_path, server):
    with pytest.raises(ProviderNotReady) as caught:
        ask(wired(tmp_path, server, "claude", anthropic_api_key=""))
    assert "ANTHROPIC_API_KEY" in caught.value.message
    assert "ANTHROPIC_API_KEY=" in caught.value.remedy
    assert ".env" in caught.value.remedy
    assert "lqmf llm switch none" in caught.value.remedy
    assert ask(wired(tmp_path, server, "claude", "openai", anthropic_api_key="")).provider == "openai"


# ---------------------------------------------------------------- the breaker


def test_one_that_keeps_failing_is_left_alone_and_the_next_is_asked(tmp_path, book):
    with serving(Behaviour(status=500)) as down, serving(says(GOOD)) as good:
        given = configured(tmp_path, good, "claude", "openai", anthropic_base_url=down.url("claude"), max_retries=9)
        build = partial(registry.build, settings=given, artifacts=tmp_path)
        asked = calls(given, build, book)
        assert asked.name == "claude"
        assert ask(asked).provider == "openai"
        assert len(down.asked) == 5
        assert (asked.health()["claude"].state, asked.health()["openai"].state) == ("open", "closed")
        assert asked.name == "openai"
        assert ask(asked).provider == "openai"
        assert len(down.asked) == 5
        another = calls(given, build, book)  # another process, by the same store
        assert another.health()["claude"].state == "open"
        assert ask(another).provider == "openai"
        assert len(down.asked) == 5


def test_left_alone_without_another_says_so_without_asking(tmp_path, server):
    server.script = [Behaviour(status=500)]
    asked = wired(tmp_path, server, "claude", max_retries=9)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable) as caught:
            ask(asked)
    assert "left alone" in caught.value.message
    assert caught.value.details["retry_in_seconds"] > 30
    assert len(server.asked) == 5


# ---------------------------------------------------------------- the budget


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [({"llm_daily_calls": 2}, 2), ({"llm_daily_tokens": 20}, 2), ({"llm_daily_tokens": 0}, 0),
     ({"llm_daily_cost": 0.0001, "llm_daily_calls": None}, 2)],
)  # fmt: skip
def test_a_budget_is_a_clear_stop(tmp_path, server, book, limit, allowed):
    asked = wired(tmp_path, server, "claude", "openai", book=book, claude_model="claude-sonnet-5-5", **limit)
    for _ in range(allowed):
        ask(asked)
    with pytest.raises(BudgetSpent) as caught:
        ask(asked)
    (setting,) = [name for name, value in limit.items() if value is not None]
    assert setting in caught.value.remedy
    assert "used up" in caught.value.message
    assert len(server.asked) == allowed
    with pytest.raises(BudgetSpent):
        asyncio.run(prose(wired(tmp_path, server, "claude", book=book, **limit)))


def test_retries_count_and_yesterday_does_not(tmp_path, server, book):
    server.script = [Behaviour(status=500), says(GOOD)]
    asked = wired(tmp_path, server, "openai", book=book, llm_daily_calls=2)
    ask(asked)
    with pytest.raises(BudgetSpent):
        ask(asked)
    book.rows = [{**row, "day": "2001-01-01"} for row in book.rows]
    assert ask(wired(tmp_path, server, "openai", book=book, llm_daily_calls=2)).value.bits == 4


def test_tokens_that_nobody_counted_are_taken_from_the_characters(tmp_path, book):
    asked = scripted(tmp_path, Line(answer="word " * 100), book=book)
    asyncio.run(prose(asked))
    assert book.rows[0]["output_tokens"] is None
    assert asked.spent_today().tokens == -(-book.rows[0]["characters"] // 4)
    assert book.rows[0]["characters"] > 400


def no_store(**where: Any) -> list[Any]:
    raise StoreError("The store is gone.", "Find it.")


def test_a_store_that_cannot_be_read_stops_what_has_a_budget_only(tmp_path):
    def lost(**more: Any) -> Calls:
        script = Scripted([Line(answer=GOOD)])
        given = configured(tmp_path, None, "scripted", **more)
        return Calls(given, lambda name: script, Ledger(lambda row: None, no_store), redact=str)

    with pytest.raises(ProviderError, match="budget cannot be checked"):
        ask(lost())
    free = {"llm_daily_calls": None, "llm_daily_tokens": None, "llm_daily_cost": None}
    assert ask(lost(**dict.fromkeys(free, "none"))).value.bits == 4


def test_a_store_that_takes_no_records_does_not_lift_the_budget(tmp_path):
    script = Scripted([Line(answer=GOOD)] * 2)
    given = configured(tmp_path, None, "scripted", llm_daily_calls=1)
    asked = Calls(given, lambda name: script, Ledger(lambda row: None, lambda **where: []), redact=str)
    ask(asked)
    with pytest.raises(BudgetSpent):
        ask(asked)


# ---------------------------------------------------------------- the record


def test_a_call_is_recorded_with_what_it_took_and_without_the_prompt(tmp_path, server, book):
    ask(wired(tmp_path, server, "claude", book=book, claude_model="claude-sonnet-5-5"))
    (row,) = book.rows
    assert (row["provider"], row["model"], row["purpose"], row["outcome"]) == ("claude", MODEL, "plan", "ok")
    assert (row["input_tokens"], row["output_tokens"]) == TOKENS
    assert row["cost"] == pytest.approx((11 * 2.0 + 7 * 10.0) / 1e6)
    assert 0 < row["seconds"] < 10
    assert abs(row["at"] - time.time()) < 60
    assert row["prompt"] is None


def test_a_failed_call_is_recorded_with_the_tokens_that_it_took(tmp_path, server, book):
    server.script = [says("no JSON")]
    with pytest.raises(BadAnswer):
        ask(wired(tmp_path, server, "openai", book=book))
    assert (book.rows[0]["outcome"], book.rows[0]["input_tokens"]) == ("bad_answer", TOKENS[0])


def test_a_prompt_is_kept_only_when_the_user_asks_and_redacted(tmp_path, book):
    script = Scripted([Line(answer=GOOD)])
    given = configured(tmp_path, None, "scripted", llm_keep_prompts=True)
    asked = Calls(
        given, lambda name: script, Ledger(book.rows.append, book.found), redact=lambda t: t.replace("Which", "***")
    )
    ask(asked)
    assert book.rows[0]["prompt"][1] == {"role": "user", "content": "*** type?"}
    assert script.asked[0][1] == Message("user", "*** type?")


# ---------------------------------------------------------------- what comes back


@pytest.mark.parametrize("name", WIRED)
def test_terminal_escapes_are_stripped_from_objects_and_prose(tmp_path, server, name):
    evil = "\x1b[31mred\x1b[0m \x1b]0;title\x07ok\x9b2J \u202edone\r\x00"
    asked = wired(tmp_path, server, name, local_model="m")
    server.script = [says({"type": evil, "bits": 4})]
    assert ask(asked).value.type == "red ok done"
    server.script = [Behaviour(pieces=tuple(evil))]
    assert "".join(asyncio.run(prose(asked))) == "red ok done"


def test_a_provider_that_names_its_model_oddly_steers_no_terminal(tmp_path, server, book, monkeypatch):
    monkeypatch.setattr("tests.providers.wire.MODEL", "m\x1b[2J")
    assert ask(wired(tmp_path, server, "claude", book=book)).model == "m"
    assert book.rows[0]["model"] == "m"


# ---------------------------------------------------------------- prose


@pytest.mark.parametrize("name", WIRED)
def test_the_first_piece_is_given_before_the_second_is_sent(tmp_path, server, name):
    server.script = [Behaviour(pieces=("One, ", "two."), between_s=1.0)]
    asked = wired(tmp_path, server, name, local_model="m")

    async def timed() -> tuple[str, float]:
        pieces = asked.stream("explain", ASKED)
        first = await anext(pieces)
        at = time.perf_counter()
        return first + "".join([piece async for piece in pieces]), time.perf_counter() - at

    text, after = asyncio.run(timed())
    assert text == "One, two."
    assert after > 0.5


def test_prose_is_retried_before_its_first_piece_and_never_after(tmp_path, server, book):
    server.script = [Behaviour(status=529), Behaviour(pieces=("a",), cut_after=0), Behaviour(pieces=("One.",))]
    assert asyncio.run(prose(wired(tmp_path, server, "claude", book=book))) == ["One."]
    assert len(server.asked) == 3
    server.script = [Behaviour(pieces=("One, ", "two."), cut_after=1)]
    heard: list[str] = []

    async def cut() -> None:
        async for piece in wired(tmp_path, server, "claude", "openai").stream("explain", ASKED):
            heard.append(piece)

    with pytest.raises(ProviderUnavailable):
        asyncio.run(cut())
    assert heard == ["One, "]
    assert len(server.asked) == 4
    assert [row["outcome"] for row in book.rows] == ["provider_unavailable", "provider_unavailable", "ok"]


def test_prose_that_is_left_early_hangs_up_and_is_recorded(tmp_path, server, book):
    server.script = [Behaviour(pieces=("One, ", "two."), stall_after=1)]
    asked = wired(tmp_path, server, "openai", book=book)

    async def left() -> None:
        pieces = asked.stream("explain", ASKED)
        assert await anext(pieces) == "One, "
        await pieces.aclose()
        assert await asyncio.to_thread(server.broken_off.wait, 5)

    asyncio.run(left())
    assert [row["outcome"] for row in book.rows] == ["cancelled"]


def test_prose_without_a_word_is_a_bad_answer(tmp_path, server, book):
    server.script = [Behaviour(text="")]
    with pytest.raises(BadAnswer, match="empty"):
        asyncio.run(prose(wired(tmp_path, server, "claude", book=book)))
    assert book.rows[0]["outcome"] == "bad_answer"


def test_one_calls_serves_several_event_loops(tmp_path, server):
    asked = wired(tmp_path, server, "claude")
    assert [ask(asked).value, ask(asked).value] == [Advice(**GOOD)] * 2


def test_a_fault_of_a_provider_of_others_is_no_cancel(tmp_path, book):
    class Broken(Scripted):
        async def complete(self, *messages: Any, **more: Any) -> Any:
            raise ZeroDivisionError

    broken: Provider = Broken([])
    asked = calls(configured(tmp_path, None, "scripted"), lambda name: broken, book)
    with pytest.raises(ZeroDivisionError):
        ask(asked)
    assert book.rows[0]["outcome"] == "failed"
    assert Usage(book.rows[0]["input_tokens"], book.rows[0]["output_tokens"]) == Usage()
