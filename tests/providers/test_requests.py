"""What goes out is what each far end's own structured outputs want; no tools are offered, and nothing is retried."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lqmf.errors import ProviderError
from tests.providers.places import ASKED, GOOD, KEYS, WIRED, Advice, configured, provider, streamed
from tests.providers.wire import MODEL, Behaviour, says, serving


def sent(tmp_path: Path, name: str, **more) -> dict:
    """The last request that asking for an object makes."""
    with serving(says(GOOD)) as server:
        asked = provider(tmp_path, server, name, **more)
        asyncio.run(asked.complete(ASKED, Advice, max_tokens=321, timeout_s=5.0))
        assert len(server.asked) == 1
        return server.asked[0]


def test_claude_is_asked_by_its_output_format(tmp_path):
    request = sent(tmp_path, "claude", claude_model="a-model")
    body, form = request["body"], request["body"]["output_config"]["format"]
    assert (request["path"], request["headers"]["authorization"]) == ("/v1/messages", f"Bearer {KEYS['claude']}")
    assert (body["model"], body["max_tokens"], body["system"]) == ("a-model", 321, "Answer shortly.")
    assert body["messages"] == [{"role": "user", "content": "Which type?"}]
    assert form["type"] == "json_schema"
    assert (form["schema"]["required"], form["schema"]["additionalProperties"]) == (["type", "bits"], False)
    assert "tools" not in body


@pytest.mark.parametrize(("name", "limit"), [("openai", "max_completion_tokens"), ("local", "max_tokens")])
def test_openai_and_its_likes_are_asked_by_a_strict_response_format(tmp_path, name, limit):
    request = sent(tmp_path, name, **{f"{name}_model": "a-model"})
    body, form = request["body"], request["body"]["response_format"]
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["authorization"] == f"Bearer {KEYS[name]}"
    assert (body["model"], body[limit]) == ("a-model", 321)
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert (form["type"], form["json_schema"]["strict"]) == ("json_schema", True)
    assert form["json_schema"]["schema"]["required"] == ["type", "bits"]
    assert form["json_schema"]["schema"]["additionalProperties"] is False
    assert "tools" not in body


def test_gemini_is_asked_by_its_response_schema(tmp_path):
    request = sent(tmp_path, "gemini", gemini_model="a-model")
    body, config = request["body"], request["body"]["generationConfig"]
    assert request["path"].endswith("/models/a-model:generateContent")
    assert KEYS["gemini"] not in request["path"]
    assert request["headers"]["x-goog-api-key"] == KEYS["gemini"]
    assert body["systemInstruction"]["parts"] == [{"text": "Answer shortly."}]
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Which type?"}]}]
    assert (config["maxOutputTokens"], config["responseMimeType"]) == (321, "application/json")
    assert config["responseJsonSchema"]["required"] == ["type", "bits"]
    assert "tools" not in body


def test_a_local_server_that_wants_no_key_and_names_its_own_model(tmp_path):
    request = sent(tmp_path, "local", local_api_key="", local_model="")
    assert request["body"]["model"] == MODEL
    assert request["headers"]["authorization"] == "Bearer none"


@pytest.mark.parametrize("name", WIRED)
@pytest.mark.parametrize("status", [429, 500, 529])
def test_no_sdk_retries_by_itself(tmp_path, name, status):
    with serving(Behaviour(status=status)) as server:
        asked = provider(tmp_path, server, name, local_model="m")
        for work in (lambda: asked.complete(ASKED, Advice, max_tokens=9, timeout_s=5.0), lambda: streamed(asked)):
            with pytest.raises(ProviderError):
                asyncio.run(work())
        assert len(server.asked) == 2


def test_the_environment_of_an_sdk_changes_no_address_and_no_key(tmp_path, monkeypatch):
    """Google's SDK would go elsewhere by itself, Anthropic's with another's token."""
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "somebody")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "another")
    assert sent(tmp_path, "gemini")["headers"]["x-goog-api-key"] == KEYS["gemini"]
    assert sent(tmp_path, "claude")["headers"]["authorization"] == f"Bearer {KEYS['claude']}"


def test_settings_show_no_key(tmp_path):
    shown = repr(configured(tmp_path, None, *WIRED))
    assert not any(key in shown for key in KEYS.values())
