"""The App's providers: by settings, recorded in either store, and with no key anywhere."""

from __future__ import annotations

import asyncio
import json
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lqmf.app import App
from lqmf.errors import LqmfError
from lqmf.events import Event, Notice
from lqmf.jobs.journal import EventLog
from lqmf.providers.base import Message
from tests.providers.places import ASKED, GOOD, KEYS, WIRED, Advice, options
from tests.providers.wire import Behaviour, says, serving

TOKEN = "hf_PlantedTokenOfTheHub0123456789"
SECRETS = [*KEYS.values(), TOKEN]


def test_no_provider_is_no_llm_and_costs_nothing(tmp_path):
    assert App(tmp_path, "given", {}).llm is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_a_script_may_be_tried_and_its_calls_are_in_the_store(tmp_path, backend):
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"answer": GOOD, "tokens": [3, 4]}, {"answer": "Two words."}]))
    given = {"llm_provider": "scripted", "scripted_file": str(script), "storage_backend": backend}
    app = App(tmp_path, "given", given)
    assert app.llm is not None
    assert asyncio.run(app.llm.complete("plan", ASKED, Advice)).value == Advice(**GOOD)

    async def prose() -> str:
        assert app.llm is not None
        return "".join([piece async for piece in app.llm.stream("explain", ASKED)])

    assert asyncio.run(prose()) == "Two words."
    app.close()
    again = App(tmp_path, "given", given)
    rows = again.memory.llm_calls(provider="scripted")
    assert [(row["purpose"], row["outcome"], row["output_tokens"], row["prompt"]) for row in rows] == [
        ("explain", "ok", None, None), ("plan", "ok", 4, None),
    ]  # fmt: skip
    assert again.llm is not None
    assert again.llm.spent_today().calls == 2
    again.close()


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_no_secret_is_in_anything_written_shown_or_sent(tmp_path, backend):
    """Keys are in the settings and in what the user typed; far ends repeat them in their errors."""
    seen: list[str] = []
    asked = [Message("user", f"My keys: {' '.join(SECRETS)}. Bearer {SECRETS[0]}")]
    behaviours = [Behaviour(status=status) for status in (400, 401, 403, 429, 500)] + [says("no JSON"), says(GOOD)]
    more = {"storage_backend": backend, "llm_keep_prompts": True, "hf_token": TOKEN, "max_retries": 0}
    more |= {"local_model": "m", "llm_timeout_s": 600}
    with serving() as server:
        for name in WIRED:
            app = App(tmp_path, "given", {**options(server, *WIRED), **more, "llm_provider": name, "llm_fallbacks": ""})
            app.bus.subscribe(EventLog(app.workspace.logs, app.redact))
            app.bus.subscribe(partial(_note, seen))
            assert app.llm is not None
            for how in behaviours:
                server.script = [how]
                seen.extend(asyncio.run(told(app, asked)))
            seen.extend([repr(app.llm), repr(app.settings.values), repr(app.llm.__dict__), repr(app.llm.health())])
            app.close()
        sent = json.dumps([one["body"] for one in server.asked])
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(server.asked) == len(WIRED) * len(behaviours) * 2
    assert b"My keys: ***" in written
    for secret in SECRETS:
        assert secret not in sent
        assert secret.encode() not in written
        assert not [text for text in seen if secret in text]


def _note(seen: list[str], event: Event) -> None:
    seen.append(str(event))


async def told(app: App, asked: list[Message]) -> list[str]:
    """Everything that an attempt shows, and that is published of it, both ways of asking."""
    shown: list[str] = []
    assert app.llm is not None
    stream = app.llm.stream("explain", asked)

    async def prose() -> Any:
        return [piece async for piece in stream]

    for work in (app.llm.complete("plan", asked, Advice), prose()):
        try:
            shown.append(repr(await work))
        except LqmfError as error:
            app.bus.publish(Notice(text=error.message, job="j"))
            shown += [repr(error), str(error), error.remedy, json.dumps(error.to_json()), repr(error.__cause__)]
            shown += [repr(error.__context__), "".join(traceback.format_exception(error))]
    return shown


def test_a_fallback_is_told_on_the_bus(tmp_path: Path):
    heard: list[Event] = []
    with serving(says(GOOD)) as server:
        app = App(tmp_path, "given", options(server, "claude", "openai", anthropic_api_key=""))
        app.bus.subscribe(heard.append)
        assert app.llm is not None
        assert asyncio.run(app.llm.complete("plan", ASKED, Advice)).provider == "openai"
        app.close()
    (notice,) = [event.text for event in heard if isinstance(event, Notice)]
    assert "ANTHROPIC_API_KEY is not set" in notice
    assert "openai is asked in its place" in notice
