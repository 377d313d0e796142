"""`lqmf config`: settings, where each came from, and how to set one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.errors import SettingsError
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "config",
    "settings, and where each value came from",
    intents=("config",),
    examples=(
        "lqmf config get",
        "lqmf config get storage_backend --json",
        "lqmf config set max_retries 5",
        "lqmf config path",
    ),
    order=210,
    panel="Set-up",
    remembered=False,
)
cli = typer.Typer(invoke_without_command=True)


@cli.callback()
def everything(context: typer.Context) -> Decision | None:
    """Settings come from options, the environment, .env and config.json, in this order; `get` says which."""
    return None if context.invoked_subcommand else options.typed("config")


@cli.command()
def get(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="A setting; all if left out.")] = None,
) -> Decision:
    """Show a setting, or all of them, with where the value came from."""
    return options.typed("config", key=key)


@cli.command()
def set(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A setting.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its new value.")],
) -> Decision:
    """Set a setting in the workspace's config.json."""
    return options.typed("config", key=key, value=value)


@cli.command()
def path() -> Decision:
    """Show where config.json is, and why there."""
    return options.typed("config", action="path")


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Get, set or locate."""
    slots = decision.slots
    if slots.get("action") == "path":
        return _path(app)
    if slots.get("value") is not None and slots.get("key"):
        return _set(app, slots["key"], str(slots["value"]))
    return _get(app, slots.get("key"))


def _path(app: App) -> Outcome:
    file = app.root / "config.json"
    data = {"path": str(file), "exists": file.exists(), "workspace": str(app.root), "reason": app.root_reason}
    return Outcome(data, str(file))


def _get(app: App, key: str | None) -> Outcome:
    from lqmf.cli.views.settings import settings_view
    from lqmf.settings import keys

    described = [app.settings.describe(name) for name in ([key.lower()] if key else keys())]
    return Outcome(described[0] if key else {"settings": described}, settings_view(described, app.root))


def _set(app: App, key: str, value: str) -> Outcome:
    from lqmf.cli.views.messages import Unfolded, done_view
    from lqmf.cli.views.tables import cell
    from lqmf.settings import load, write_config

    try:
        written = write_config(app.root, key.lower(), value)
    except SettingsError as error:
        raise _in_words(error, key.lower(), value) from error
    origin = load(app.root, app.options).describe(key.lower())["source"]
    view = f"{key.lower()} is {cell(written)} in {app.root / 'config.json'}."
    if origin not in ("config.json", "default"):
        view += f" The value from {origin} still comes first."
    return Outcome(
        {"key": key.lower(), "value": written, "source": "config.json", "in_use_from": origin},
        Unfolded(done_view(view)),
    )


def _in_words(error: SettingsError, key: str, value: str) -> SettingsError:
    """What is wrong with a value just given, by its own name: no file is to be corrected, for nothing was written."""
    from pydantic import ValidationError

    from lqmf.settings import why

    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return error
    first = cause.errors()[0]
    if str(first["loc"][0]).lower() != key:
        return error
    said = why(first["msg"])
    reason = said[:1].lower() + said[1:]
    return SettingsError(f"{value} is no value for {key}: {reason}.", f"Type `config set {key}` with such a value.")
