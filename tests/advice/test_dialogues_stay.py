"""With a provider that has no key, or that is down, every other dialogue of the given set is decided, asked and planned
as with none."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lqmf.app import App
from lqmf.errors import LqmfError
from lqmf.records import Decision, Question, Utterance, to_json
from lqmf.understanding.answers import Reply
from tests.advice import wishes
from tests.advice.places import notices, place
from tests.advice.wishes import LAPTOP

pytestmark = pytest.mark.slow
SHAPE = dataclasses.replace(wishes.SHAPE, trained=4096)
DIALOGUES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "understanding" / "dev.jsonl").read_text(encoding="utf-8").splitlines()
][::2]
MODEL_OF_NOBODY = "org/model"


def told(app: App, dialogue: Mapping[str, Any]) -> list[Any]:
    """Everything that a dialogue comes to, turn by turn: the decision, the questions, the plan or the refusal."""
    record: list[Any] = []

    async def ask(question: Question) -> Reply:
        record.append(to_json(question))
        value = MODEL_OF_NOBODY if question.id == "model" else question.default
        return Reply("cancel") if value is None else Reply("value", value)

    async def carry_out(decision: Decision) -> None:
        record.append(to_json(decision))
        if decision.intent in ("quantize", "plan"):
            for one in await app.planning.plan(decision.request, ask, lambda planned: None):
                plan = to_json(dataclasses.replace(one.plan, id=""))
                record.append({**plan, "estimate": {**(plan["estimate"] or {}), "load": None}})  # of this moment

    for turn in dialogue["turns"]:
        try:
            asyncio.run(carry_out(app.pipeline.turn(Utterance(turn["say"]))))
        except LqmfError as error:
            record.append(error.to_json())
    return record


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What every dialogue comes to without a provider."""
    root = tmp_path_factory.mktemp("alone")
    return {dialogue["id"]: told(fresh(root), dialogue) for dialogue in DIALOGUES}


def fresh(root: Path, **options: Any) -> App:
    """A laptop, and models that were trained for 4,096 tokens."""
    return place(root, options, LAPTOP, SHAPE)


def test_there_is_something_to_compare(alone: dict[str, list[Any]]) -> None:
    everything = [entry for record in alone.values() for entry in record]
    assert len(alone) == 45
    assert sum("choices" in entry for entry in everything) >= 15
    assert sum("default" in entry for entry in everything) >= 10


ALL = {"llm_provider": "claude", "llm_fallbacks": "openai,gemini,local", "max_retries": 0}


def test_with_no_key_at_all_no_dialogue_changes(alone, tmp_path, monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "LOCAL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    told_of = same(alone, tmp_path, **ALL, local_base_url=nowhere())
    assert "ANTHROPIC_API_KEY is not set" in " ".join(told_of)


def test_with_every_provider_down_no_dialogue_changes(alone, tmp_path):
    down = dict.fromkeys((f"{name}_base_url" for name in ("anthropic", "openai", "gemini", "local")), nowhere())
    keys = dict.fromkeys((f"{name}_api_key" for name in ("anthropic", "openai", "gemini", "local")), "k" * 40)
    told_of = same(alone, tmp_path, **ALL, **down, **keys)
    assert "cannot be reached" in " ".join(told_of) or "connect" in " ".join(told_of)


def nowhere() -> str:
    """An address of this machine where nobody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def same(alone: dict[str, list[Any]], root: Path, **options: Any) -> list[str]:
    """Every dialogue again, the same; what people were told in passing, at most once in each of why there is no
    advice."""
    passing: list[str] = []
    for dialogue in DIALOGUES:
        app = fresh(root, **options)
        heard = notices(app)
        assert told(app, dialogue) == alone[dialogue["id"]], dialogue["id"]
        assert sum(text.startswith("No advice") for text in heard) <= 1, heard
        passing += heard
    return passing
