"""The Provider promise, held against all that are registered: Claude, OpenAI, Gemini, a local server, the script.

The SDKs are the real ones and speak to a server on this machine. What passes here may be asked by Calls.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from lqmf.errors import BadAnswer, KeyRefused, ProviderBusy, ProviderUnavailable
from lqmf.providers import registry
from lqmf.providers.base import Completion, Message, Provider, Usage
from tests.providers.places import ASKED, GOOD, KEYS, WIRED, Advice, provider, streamed
from tests.providers.wire import MODEL, TOKENS, Behaviour, Server, says, serving

STATUSES = {"key_refused": 401, "provider_busy": 429, "provider_unavailable": 529}


class Far:
    """A provider, and what its far end will do, whoever that is."""

    def __init__(self, name: str, root: Path, server: Server) -> None:
        self._name, self._root, self._server = name, root, server
        self._made: Provider | None = None

    @property
    def provider(self) -> Provider:
        """Made when first asked for: a script is read then."""
        if self._made is None:
            self._made = provider(self._root, self._server, self._name, scripted_file=str(self._script))
        return self._made

    @property
    def _script(self) -> Path:
        return self._root / "script.json"

    def will_say(self, *answers: Any) -> None:
        """One answer a call, as JSON where it is no text."""
        self._server.script = [says(answer) for answer in answers]
        lines = [{"answer": answer, "tokens": TOKENS} for answer in answers]
        self._script.write_text(json.dumps(lines), encoding="utf-8")

    def will_fail(self, code: str) -> None:
        self._server.script = [Behaviour(status=STATUSES[code])]
        self._script.write_text(json.dumps([{"error": code}]), encoding="utf-8")

    def will_wait(self, seconds: float) -> None:
        self._server.script = [says(GOOD, first_byte_s=seconds)]
        self._script.write_text(json.dumps([{"answer": GOOD, "delay_s": seconds}]), encoding="utf-8")

    def completed(self, schema: type[BaseModel] = Advice, asked: list[Message] = ASKED) -> Completion[Any]:
        return asyncio.run(self.provider.complete(asked, schema, max_tokens=100, timeout_s=5.0))


@pytest.fixture(params=[*WIRED, "scripted"])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Far]:
    with serving() as server:
        yield Far(request.param, tmp_path, server)


def test_these_are_the_providers_that_there_are():
    assert set(registry.names()) >= {*WIRED, "scripted"}


def test_it_has_the_name_that_the_user_types_and_a_model(far, request):
    far.will_say(GOOD)
    assert far.provider.name == request.node.callspec.params["far"]
    assert isinstance(far.provider.model, str)


def test_its_repr_and_what_it_holds_show_no_key(far):
    far.will_say(GOOD)
    far.completed()
    shown = repr(far.provider) + str(far.provider)
    assert not any(key in shown for key in KEYS.values())


def test_an_answer_is_an_object_of_the_schema_with_what_it_took(far):
    far.will_say(GOOD)
    done = far.completed()
    assert done.value == Advice(**GOOD)
    assert done.usage == Usage(*TOKENS)
    assert done.provider == far.provider.name
    assert done.model in (MODEL, "script")
    assert 0 < done.seconds < 5


class Nested(BaseModel):
    kind: Literal["a", "b"]
    parts: list[Advice] = Field(min_length=1)
    note: str | None = Field(None, max_length=5)


def test_any_pydantic_model_may_be_asked_for(far):
    answer = {"kind": "b", "parts": [GOOD], "note": None}
    far.will_say(answer)
    assert far.completed(Nested).value.model_dump() == answer


@pytest.mark.parametrize("answer", [{"kind": "c", "parts": [GOOD], "note": None},
                                    {"kind": "a", "parts": [], "note": None},
                                    {"kind": "a", "parts": [GOOD], "note": "too long"}])  # fmt: skip
def test_what_breaks_a_bound_is_a_bad_answer(far, answer):
    far.will_say(answer)
    with pytest.raises(BadAnswer):
        far.completed(Nested)


@pytest.mark.parametrize("answer", ["I would take Q4_K_M.", {"verdict": 1}, {}, "", "[]", "null", '{"type": "Q'])
def test_what_is_none_is_a_bad_answer_that_counts_its_tokens_and_repeats_nothing(far, answer):
    far.will_say(answer)
    with pytest.raises(BadAnswer) as caught:
        far.completed()
    assert caught.value.details == {"input_tokens": TOKENS[0], "output_tokens": TOKENS[1]}
    assert "verdict" not in caught.value.message
    assert far.provider.name in caught.value.message


def test_prose_comes_whole_and_its_usage_last(far):
    text = "Take  Q4_K_M: größe, 漢字, \n\n and 🚀. "
    far.will_say(text)
    assert asyncio.run(streamed(far.provider)) == (text, Usage(*TOKENS))


def test_a_stream_that_is_left_early_harms_nothing(far):
    far.will_say("One two three.", GOOD)

    async def left() -> Completion[Advice]:
        pieces = far.provider.stream(ASKED, max_tokens=100, timeout_s=5.0)
        assert (await anext(pieces)) in ("One", "One two three.")
        await pieces.aclose()
        return await far.provider.complete(ASKED, Advice, max_tokens=100, timeout_s=5.0)

    assert asyncio.run(left()).value.bits == 4


@pytest.mark.parametrize(
    ("code", "kind"),
    [("key_refused", KeyRefused), ("provider_busy", ProviderBusy), ("provider_unavailable", ProviderUnavailable)],
)
@pytest.mark.parametrize("prose", [False, True])
def test_what_fails_is_told_apart(far, code, kind, prose):
    far.will_fail(code)
    with pytest.raises(kind) as caught:
        asyncio.run(streamed(far.provider)) if prose else far.completed()
    assert caught.value.transient == (code != "key_refused")
    assert caught.value.message


def test_it_outlives_the_event_loop_that_asked_it(far):
    far.will_say(GOOD, GOOD, "Prose.")
    assert far.completed().value == far.completed().value
    assert asyncio.run(streamed(far.provider))[0] == "Prose."


def test_a_cancel_ends_it_at_once(far):
    far.will_wait(30.0)

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await far.provider.complete(ASKED, Advice, max_tokens=9, timeout_s=60.0)

    asyncio.run(cancelled())


def test_several_system_messages_and_turns_are_taken(far):
    far.will_say(GOOD)
    turns = [Message("system", "A."), Message("system", "B."), Message("user", "1"), Message("assistant", "2"),
             Message("user", "3")]  # fmt: skip
    assert far.completed(asked=turns).value.bits == 4


def test_closing_twice_is_closing_once(far):
    far.will_say(GOOD)

    async def closed() -> None:
        await far.provider.complete(ASKED, Advice, max_tokens=9, timeout_s=5.0)
        await far.provider.close()
        await far.provider.close()

    asyncio.run(closed())
