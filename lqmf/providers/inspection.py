"""The state of each provider, found without asking it, and one small question to prove that it answers.

Knows settings, recorded calls and the breaker's promise; knows no SDK and draws nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from lqmf.declared import providers
from lqmf.providers import registry
from lqmf.providers.breaker import Breaker
from lqmf.providers.config import LlmSettings

if TYPE_CHECKING:
    from lqmf.providers.base import Completion
    from lqmf.providers.calls import Calls
    from lqmf.store.base import Row

WORD = "quantization"
RECENT = 20  # calls that say how a provider is


class Reached(BaseModel):
    """The answer to the small question."""

    model_config = ConfigDict(extra="forbid")

    word: str = Field(description="the word that was given")


async def ask_small(calls: Calls) -> Completion[Reached]:
    """Ask one small question in a real call, and return the answer. Raises ProviderError."""
    from lqmf.providers import prompts

    return await calls.complete("test", prompts.messages("test", word=prompts.fenced("the program", WORD)), Reached)


def describe(settings: LlmSettings, artifacts: Path, recent: Callable[[str], Sequence[Row]]) -> list[dict[str, Any]]:
    """Return each provider as `{"name", "place", "ready", "reason", "model", "model_source", "address",
    "address_source", "key", "key_source", "last_call", "health"}`. `place` is 1 for the provider in use, 2.. for those
    that stand in, None for others; `recent` gives a provider's recorded calls, newest first. Makes no call."""
    shown = [name for name in registry.names() if providers.of(name).shown or name in settings.order]
    return [_described(name, settings, artifacts, recent(name)) for name in _in_order(shown, settings.order)]


def _in_order(names: Sequence[str], order: Sequence[str]) -> list[str]:
    return [*order, *(name for name in names if name not in order)]


def _described(name: str, settings: LlmSettings, artifacts: Path, rows: Sequence[Row]) -> dict[str, Any]:
    own, declared = name == "local" and settings.local_artifact, providers.of(name)
    reason = _hindrance(name, settings, artifacts)
    return {
        "name": name,
        "place": settings.order.index(name) + 1 if name in settings.order else None,
        "ready": reason is None,
        "reason": reason,
        "model": settings.model(name),
        "model_source": settings.origin("local_artifact" if own else declared.model_key),
        "address": None if own else settings.base_url(name),
        "address_source": settings.origin(declared.address_key) if declared.shown and not own else None,
        "key": _key(name, settings),
        "key_source": settings.key_source(name),
        "last_call": _last(rows),
        "health": _health(name, rows),
    }


def _key(name: str, settings: LlmSettings) -> str:
    if settings.key(name):
        return "present"
    return "missing" if providers.of(name).needs_key else "not needed"


def _hindrance(name: str, settings: LlmSettings, artifacts: Path) -> str | None:
    """Return why a provider cannot be asked at all; None where it can be tried."""
    from lqmf.errors import LqmfError

    own, declared = name == "local" and settings.local_artifact, providers.of(name)
    if declared.module and not own and not _installed(declared.module):
        return f"the package {declared.module} is not installed: {declared.install}"
    if declared.module and not own and _key(name, settings) != "missing":
        return None
    try:
        registry.build(name, settings, artifacts)
    except LqmfError as error:
        return error.message
    return None


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def _last(rows: Sequence[Row]) -> dict[str, Any] | None:
    names = ("at", "purpose", "outcome", "seconds", "model")
    return {name: rows[0][name] for name in names} if rows else None


def _health(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the state of the breaker."""
    health = Breaker(name, rows).health
    return {"state": health.state, "failures": health.failures, "rest_s": round(health.rest_s, 1)}
