"""Finds commands and their operations: one file in `commands/` each, or an entry point in the group `lqmf.commands`.

Imports a command's module only when it is used. Knows nothing of what commands do.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lqmf.cli import commands
from lqmf.cli.command import Command
from lqmf.declared import entry_points

if TYPE_CHECKING:
    from lqmf.operations.result import Result

Operation = Callable[..., Awaitable["Result"]]  # run(app, request, ask)
GROUP = "lqmf.commands"


@functools.cache
def builtin_names() -> tuple[str, ...]:
    """The commands that LQMF brings, by file name; nothing is imported."""
    return tuple(module.name for module in pkgutil.iter_modules(commands.__path__))


def exists(name: str) -> bool:
    """Whether `name` is a command; nothing of it is imported."""
    return name in builtin_names() or name in entry_points.points(GROUP)


@functools.cache
def load(name: str) -> ModuleType | None:
    """The module of the command `name`; None where there is none, or it is broken. LQMF's own come before others'."""
    if name in builtin_names():
        return importlib.import_module(f"{commands.__name__}.{name}")
    return entry_points.load(GROUP, name, _command)


def _command(module: Any) -> ModuleType:
    """Return `module`. Raises TypeError where it is no command."""
    if not isinstance(getattr(module, "COMMAND", None), Command) or not callable(getattr(module, "view", None)):
        raise TypeError("it has no COMMAND, or no view")
    found: ModuleType = module
    return found


def operation(module: ModuleType) -> Operation:
    """What carries out a command: its module's own `run`, else that of the operation of its name."""
    own: Operation | None = getattr(module, "run", None)
    return own or importlib.import_module(f"lqmf.operations.{module.COMMAND.name}").run


def view_of(record: Result) -> Any:
    """What draws an operation's record: the view of the command that it comes from."""
    home = type(record).__module__
    name = home.rpartition(".")[2]
    if home.startswith("lqmf.") and (module := load(name)):
        return module.view
    brought = (load(point) for point in entry_points.points(GROUP))
    return next(module.view for module in brought if module and operation(module).__module__ == home)


def names() -> list[str]:
    """Every command, in the order of the help. Imports them all."""
    found = [
        (module.COMMAND.order, name)
        for name in {*builtin_names(), *entry_points.points(GROUP)}
        if (module := load(name))
    ]
    return [name for _, name in sorted(found)]


@functools.cache
def for_intent(intent: str) -> ModuleType | None:
    """The command that carries out `intent`. The file is usually named after it; otherwise all are looked through."""
    for name in (intent, intent.partition("_")[0]):
        if name in builtin_names() and (module := load(name)) and intent in module.COMMAND.intents:
            return module
    everyone = (load(name) for name in names())
    return next((module for module in everyone if module and intent in module.COMMAND.intents), None)
