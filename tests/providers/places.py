"""Providers and Calls as settings make them, with a far end on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lqmf import settings
from lqmf.providers import registry
from lqmf.providers.base import Message, Provider, Usage
from lqmf.providers.calls import Calls, Ledger
from lqmf.providers.config import LlmSettings, llm_settings
from lqmf.store.base import Row
from tests.providers.wire import Server

WIRED = ("claude", "openai", "gemini", "local")
KEYS = {
    "claude": "sk-ant-api03-planted-KEY-claude-0123456789",
    "openai": "sk-proj-planted-KEY-openai-0123456789",
    "gemini": "AIzaSyPlantedKEYgemini0123456789abcdefg",
    "local": "planted-KEY-of-a-local-server-0123456789",
}
VARIABLES = {"claude": "anthropic", "openai": "openai", "gemini": "gemini", "local": "local"}
ASKED = [Message("system", "Answer shortly."), Message("user", "Which type?")]


class Advice(BaseModel):
    """Something to ask for."""

    model_config = ConfigDict(extra="forbid")

    type: str
    bits: int | None


GOOD = {"type": "Q4_K_M", "bits": 4}


def options(server: Server | None, *names: str, **more: Any) -> dict[str, Any]:
    """Settings that send `names`, the first first, to `server`, each with its planted key."""
    given: dict[str, Any] = {"llm_provider": names[0], "llm_fallbacks": ",".join(names[1:])}
    for name in set(names) & set(WIRED):
        given[f"{VARIABLES[name]}_api_key"] = KEYS[name]
        if server is not None:
            given[f"{VARIABLES[name]}_base_url"] = server.url(name)
    return {**given, **more}


def configured(root: Path, server: Server | None, *names: str, **more: Any) -> LlmSettings:
    """The LLM settings of `options`."""
    return llm_settings(settings.load(root, options(server, *names, **more)))


def provider(root: Path, server: Server | None, name: str, **more: Any) -> Provider:
    """One provider, as the registry builds it."""
    return registry.build(name, configured(root, server, name, **more), root)


class Book:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def found(self, limit: int | None = None, **where: str) -> list[Row]:
        rows = [row for row in reversed(self.rows) if all(row[name] == value for name, value in where.items())]
        return rows[:limit]


def calls(
    given: LlmSettings, build: Callable[[str], Provider], book: Book | None = None, told: list[str] | None = None
) -> Calls:
    """Calls with a ledger in memory; `told` collects notices."""
    book = book or Book()
    notify = told.append if told is not None else lambda text: None
    return Calls(given, build, Ledger(book.rows.append, book.found), redact=lambda text: text, notify=notify)


async def streamed(from_: Provider, timeout_s: float = 5.0) -> tuple[str, Usage | None]:
    """A provider's whole prose, and the usage that it told."""
    usage, text = None, ""
    async for piece in from_.stream(ASKED, max_tokens=100, timeout_s=timeout_s):
        if isinstance(piece, Usage):
            usage = piece
        else:
            text += piece
    return text, usage
