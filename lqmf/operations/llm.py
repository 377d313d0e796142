"""llm: who may help the planner, how they are, and switching between them."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.declared import providers
from lqmf.errors import LqmfError, UsageError
from lqmf.operations.result import Result
from lqmf.records import Request

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.providers.calls import Calls
    from lqmf.providers.config import LlmSettings
    from lqmf.store.base import Row
    from lqmf.understanding.answers import Ask

OFF = "none"


@dataclass(frozen=True)
class Standing(Result):
    """The provider in use, all of them, today's calls and the day's limits."""

    provider: str
    source: str
    fallbacks: tuple[str, ...]
    wait_s: float
    providers: tuple[Mapping[str, Any], ...]
    today: Mapping[str, Any]
    budget: Mapping[str, Any]


@dataclass(frozen=True)
class Switched(Result):
    """The provider that was chosen, the one now in use, what was written to `path`, and whether it can be asked."""

    provider: str
    in_use: str
    in_use_from: str
    written: Mapping[str, str]
    path: str
    ready: bool
    reason: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class Tried(Result):
    """One small question's answer: whose, how fast, with how many tokens, and at what cost in dollars."""

    provider: str
    model: str
    seconds: float
    usage: Mapping[str, Any]
    cost: float | None

    @property
    def document(self) -> dict[str, Any]:
        """`{"provider", "model", "seconds", each field of the usage, "cost"}`."""
        asked = {"provider": self.provider, "model": self.model, "seconds": round(self.seconds, 3)}
        return {**asked, **self.usage, "cost": self.cost}


async def run(app: App, request: Request, ask: Ask) -> Standing | Switched | Tried:
    """Show, switch or try."""
    if request.intent == "llm_switch" and request.provider:
        return await asyncio.to_thread(_switch, app, request)
    if request.action == "test":
        return await _try(app, request.provider)
    return await asyncio.to_thread(_standing, app)


def _standing(app: App) -> Standing:
    from lqmf.providers.config import llm_settings
    from lqmf.providers.inspection import RECENT, describe
    from lqmf.store.calls import day_of, spent

    settings, now = llm_settings(app.settings), time.time()
    today = spent(app.memory.llm_calls(day=day_of(now)))
    found = describe(settings, app.workspace.artifacts, lambda name: app.memory.llm_calls(limit=RECENT, provider=name))
    return Standing(
        provider=settings.provider,
        source=settings.origin("llm_provider"),
        fallbacks=tuple(settings.fallbacks),
        wait_s=settings.wait_s,
        providers=tuple(found),
        today=dataclasses.asdict(today),
        budget=dataclasses.asdict(settings.budget),
    )


# ---------------------------------------------------------------- switch


def _switch(app: App, request: Request) -> Switched:
    from lqmf.providers.config import llm_settings
    from lqmf.settings import load, write_config

    name = _known(str(request.provider))
    changes = {"llm_provider": name, **_details(app, name, request)}
    for key, value in changes.items():
        write_config(app.root, key, value)
    settings = llm_settings(load(app.root, app.options))
    origin, path = settings.origin("llm_provider"), str(app.root / "config.json")
    ready = _readiness(name, settings, app)
    return Switched(name, settings.provider, origin, changes, path, *ready)


def _known(name: str) -> str:
    """Return `name`, where it is a provider's or "none". Raises UsageError with the nearest one."""
    from lqmf.settings import provider_names
    from lqmf.workspace import nearest

    known = [*provider_names(), OFF]
    if name in known:
        return name
    guess = nearest(name, known)
    remedy = f"Did you mean '{guess}'? " if guess else ""
    raise UsageError(f"There is no provider '{name}'.", f"{remedy}There are {', '.join(known)}.")


def _details(app: App, name: str, request: Request) -> dict[str, str]:
    """Return settings of the provider that go with the switch. Raises UsageError, NotFound, AmbiguousName."""
    artifact, model = request.artifact, request.provider_model
    if artifact and name != "local":
        raise UsageError("--artifact goes with local.", "Type `lqmf llm switch local --artifact NAME`.")
    if artifact:
        return {"local_artifact": app.shelf.find(artifact).name}
    if not model:
        return {}
    return {providers.of(name).model_key: model, **({"local_artifact": ""} if name == "local" else {})}


def _readiness(name: str, settings: LlmSettings, app: App) -> tuple[bool, str | None, str | None]:
    """Return whether it can be asked, or why not and what to do."""
    from lqmf.providers import registry

    if name == OFF:
        return True, None, None
    try:
        registry.build(name, settings, app.workspace.artifacts)
    except LqmfError as error:
        return False, error.message, error.remedy
    return True, None, None


# ---------------------------------------------------------------- test


async def _try(app: App, wanted: str | None) -> Tried:
    """Ask one small real question. Raises UsageError where there is nobody to ask, ProviderError."""
    from lqmf.providers.config import llm_settings
    from lqmf.providers.inspection import ask_small
    from lqmf.providers.prices import cost

    settings = llm_settings(app.settings)
    name = _known(wanted or settings.provider)
    if name == OFF:
        raise UsageError("No provider is in use, so there is none to test.", "Name one: `lqmf llm test claude`.")
    calls = _alone(app, dataclasses.replace(settings, provider=name, fallbacks=()))
    try:
        done = await ask_small(calls)
    finally:
        await calls.close()
    price = cost(done.model, done.usage.input_tokens, done.usage.output_tokens)
    return Tried(done.provider, done.model, done.seconds, dataclasses.asdict(done.usage), price)


def _alone(app: App, settings: LlmSettings) -> Calls:
    """Return one provider with the day's budget and the record, but without the memory of earlier failures: it is asked
    even while others leave it alone."""
    from lqmf.providers.calls import Calls, Ledger
    from lqmf.providers.registry import build

    def rows(**where: Any) -> list[Row]:
        return [] if "provider" in where else app.memory.llm_calls(**where)

    return Calls(
        settings,
        lambda name: build(name, settings, app.workspace.artifacts),
        Ledger(app.memory.remember_call, rows),
        redact=app.redact,
        notify=app.notify,
    )
