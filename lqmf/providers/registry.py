"""Which providers there are: modules of this package, and those that others install.

A provider is a module here that names its factory `PROVIDER` (its file is called what the user types), or an entry
point in the group `lqmf.providers` that is such a factory. Adding one edits nothing. Imports what is asked for alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import lqmf.providers
from lqmf.errors import SettingsError
from lqmf.settings import PROVIDER_GROUP

if TYPE_CHECKING:
    from lqmf.providers.base import Provider
    from lqmf.providers.config import LlmSettings

Factory = Callable[["LlmSettings", Path], "Provider"]  # the settings, and the folder of finished artifacts


def build(name: str, settings: LlmSettings, artifacts: Path) -> Provider:
    """The provider called `name`, ready to be asked; nothing is sent.

    Raises SettingsError for a name that there is not, and for a key that is missing: it names the variable, the line
    for .env and the way without one.
    """
    factory = _ours(name) or _installed(name)
    if factory is None:
        raise SettingsError(f"There is no provider called '{name}'.", f"Choose one of: {', '.join(names())}.")
    return factory(settings, artifacts)


def names() -> list[str]:
    """Every provider. Imports our own modules, which import no SDK."""
    ours = [found.name for found in pkgutil.iter_modules(lqmf.providers.__path__) if _ours(found.name)]
    return [*ours, *(name for name in _entry_points() if name not in ours)]


@cache
def _ours(name: str) -> Factory | None:
    module = f"{lqmf.providers.__name__}.{name}"
    if not name.isidentifier() or importlib.util.find_spec(module) is None:
        return None
    return getattr(importlib.import_module(module), "PROVIDER", None)


def _installed(name: str) -> Factory | None:
    point = _entry_points().get(name)
    factory: Factory | None = point.load() if point else None
    return factory


@cache
def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=PROVIDER_GROUP)}
