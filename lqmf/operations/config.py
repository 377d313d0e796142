"""config: settings, where each came from, and how to set one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.errors import SettingsError
from lqmf.operations.result import Result
from lqmf.records import Request

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Described(Result):
    """Settings of the workspace at `root`, each with its value and where that came from; `single` if one was named."""

    settings: tuple[Mapping[str, Any], ...]
    root: Path
    single: bool

    @property
    def document(self) -> dict[str, Any]:
        """The setting that was named, or `{"settings": [..]}`."""
        return dict(self.settings[0]) if self.single else {"settings": [dict(one) for one in self.settings]}


@dataclass(frozen=True)
class Written(Result):
    """A setting that was written to `path`. `in_use_from` is where the value in use comes from now."""

    key: str
    value: Any
    path: Path
    in_use_from: str

    @property
    def document(self) -> dict[str, Any]:
        """`{"key", "value", "source", "in_use_from"}`."""
        return {"key": self.key, "value": self.value, "source": "config.json", "in_use_from": self.in_use_from}


@dataclass(frozen=True)
class Located(Result):
    """Where config.json is, whether it exists, and why the workspace is that folder."""

    path: str
    exists: bool
    workspace: str
    reason: str


async def run(app: App, request: Request, ask: Ask) -> Described | Written | Located:
    """Get, set or locate."""
    if request.action == "path":
        file = app.root / "config.json"
        return Located(str(file), file.exists(), str(app.root), app.root_reason)
    if request.value is not None and request.key:
        return _set(app, request.key.lower(), str(request.value))
    return _get(app, request.key)


def _get(app: App, key: str | None) -> Described:
    from lqmf.settings import keys

    names = [key.lower()] if key else list(keys())
    return Described(tuple(app.settings.describe(name) for name in names), app.root, single=bool(key))


def _set(app: App, key: str, value: str) -> Written:
    from lqmf.settings import load, write_config

    try:
        written = write_config(app.root, key, value)
    except SettingsError as error:
        raise _in_words(error, key, value) from error
    origin = load(app.root, app.options).describe(key)["source"]
    return Written(key, written, app.root / "config.json", origin)


def _in_words(error: SettingsError, key: str, value: str) -> SettingsError:
    """Return what is wrong with a value just given, by its own name: no file is to be corrected, for nothing was
    written."""
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
