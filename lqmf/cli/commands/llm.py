"""`lqmf llm`: who may help the planner, how they are, and switching between them."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.declared import providers
from lqmf.errors import UsageError
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.providers.calls import Calls
    from lqmf.providers.config import LlmSettings
    from lqmf.store.base import Row

COMMAND = Command(
    "llm",
    "language models that may help the planner: status, switch, test",
    intents=("llm_status", "llm_switch"),
    examples=(
        "lqmf llm status",
        "lqmf llm switch claude",
        "lqmf llm switch local --artifact my-model_gguf_4bit_Q4_K_M",
        "lqmf llm switch none",
        "lqmf llm test --json",
    ),
    order=230,
    panel="Set-up",
    remembered=False,
)
OFF = "none"
cli = typer.Typer(invoke_without_command=True)


def provider_names(incomplete: str) -> list[str]:
    """Providers that begin so."""
    from lqmf.settings import provider_names as known

    return [name for name in (*known(), OFF) if name.startswith(incomplete)]


_Provider = Annotated[
    str,
    typer.Argument(
        metavar="PROVIDER",
        help=f"{', '.join(one.name for one in providers.asked())}, or none.",
        autocompletion=provider_names,
    ),
]


@cli.callback()
def everything(context: typer.Context) -> Decision | None:
    """No provider is needed: the planner's own rules and figures decide. One may advise it."""
    return None if context.invoked_subcommand else options.typed("llm_status")


@cli.command()
def status() -> Decision:
    """Show each provider: its key and where that is from, its model, the last call, how it is. Nobody is asked."""
    return options.typed("llm_status")


@cli.command()
def switch(
    provider: _Provider,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="The model to ask there.")] = None,
    artifact: Annotated[
        str | None,
        typer.Option(
            "--artifact",
            metavar="NAME",
            help="With local: an artifact of yours that helps, in place of a server.",
            autocompletion=options.artifact_names,
        ),
    ] = None,
) -> Decision:
    """Choose who helps, in the workspace's config.json; none leaves the planner to its rules."""
    return options.typed("llm_switch", provider=provider.lower(), provider_model=model, artifact=artifact)


@cli.command("test")
def try_out(
    provider: Annotated[
        str | None,
        typer.Argument(metavar="PROVIDER", help="The one in use, if left out.", autocompletion=provider_names),
    ] = None,
) -> Decision:
    """Ask one small real question: does it answer, how fast, with how many tokens, at what cost."""
    return options.typed("llm_status", action="test", provider=provider and provider.lower())


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Show, switch or try."""
    slots = decision.slots
    if decision.intent == "llm_switch" and slots.get("provider"):
        return await asyncio.to_thread(_switch, app, dict(slots))
    if slots.get("action") == "test":
        return await _test(app, slots.get("provider"))
    return await asyncio.to_thread(_status, app)


# ---------------------------------------------------------------- status


def _status(app: App) -> Outcome:
    from lqmf.cli.views.llm import status_view

    data = _standing(app)
    return Outcome(data, status_view(data))


def _standing(app: App) -> dict[str, Any]:
    """The `--json` document: the provider in use, all of them, today's calls and the limits."""
    from lqmf.providers.config import llm_settings
    from lqmf.providers.inspection import RECENT, describe
    from lqmf.store.calls import day_of, spent

    settings, now = llm_settings(app.settings), time.time()
    today = spent(app.memory.llm_calls(day=day_of(now)))
    found = describe(settings, app.workspace.artifacts, lambda name: app.memory.llm_calls(limit=RECENT, provider=name))
    return {
        "provider": settings.provider,
        "source": settings.origin("llm_provider"),
        "fallbacks": list(settings.fallbacks),
        "wait_s": settings.wait_s,
        "providers": found,
        "today": dataclasses.asdict(today),
        "budget": dataclasses.asdict(settings.budget),
    }


# ---------------------------------------------------------------- switch


def _switch(app: App, slots: dict[str, Any]) -> Outcome:
    from lqmf.cli.views.llm import switched_view
    from lqmf.providers.config import llm_settings
    from lqmf.settings import load, write_config

    name = _known(slots["provider"])
    changes = {"llm_provider": name, **_details(app, name, slots)}
    for key, value in changes.items():
        write_config(app.root, key, value)
    loaded = load(app.root, app.options)
    settings = llm_settings(loaded)
    data = {
        "provider": name,
        "in_use": settings.provider,
        "in_use_from": settings.origin("llm_provider"),
        "written": changes,
        "path": str(app.root / "config.json"),
        **_readiness(name, settings, app),
    }
    return Outcome(data, switched_view(data))


def _known(name: str) -> str:
    """`name`, where it is a provider's or "none". Raises UsageError with the nearest one."""
    from lqmf.settings import provider_names
    from lqmf.workspace import nearest

    known = [*provider_names(), OFF]
    if name in known:
        return name
    guess = nearest(name, known)
    remedy = f"Did you mean '{guess}'? " if guess else ""
    raise UsageError(f"There is no provider '{name}'.", f"{remedy}There are {', '.join(known)}.")


def _details(app: App, name: str, slots: dict[str, Any]) -> dict[str, str]:
    """Settings of the provider that go with the switch. Raises UsageError, NotFound, AmbiguousName."""
    artifact, model = slots.get("artifact"), slots.get("provider_model")
    if artifact and name != "local":
        raise UsageError("--artifact goes with local.", "Type `lqmf llm switch local --artifact NAME`.")
    if artifact:
        return {"local_artifact": app.pipeline.find(artifact).name}
    if not model:
        return {}
    return {providers.of(name).model_key: model, **({"local_artifact": ""} if name == "local" else {})}


def _readiness(name: str, settings: LlmSettings, app: App) -> dict[str, Any]:
    """Whether it can be asked, or why not and what to do."""
    from lqmf.errors import LqmfError
    from lqmf.providers import registry

    if name == OFF:
        return {"ready": True, "reason": None, "remedy": None}
    try:
        registry.build(name, settings, app.workspace.artifacts)
    except LqmfError as error:
        return {"ready": False, "reason": error.message, "remedy": error.remedy}
    return {"ready": True, "reason": None, "remedy": None}


# ---------------------------------------------------------------- test


async def _test(app: App, wanted: str | None) -> Outcome:
    from lqmf.cli.views.llm import tested_view
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
    data = {
        "provider": done.provider,
        "model": done.model,
        "seconds": round(done.seconds, 3),
        **dataclasses.asdict(done.usage),
        "cost": cost(done.model, done.usage.input_tokens, done.usage.output_tokens),
    }
    return Outcome(data, tested_view(data))


def _alone(app: App, settings: LlmSettings) -> Calls:
    """One provider with the day's budget and the record, but without the memory of earlier failures: it is asked even
    while others leave it alone."""
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
