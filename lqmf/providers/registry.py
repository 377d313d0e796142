"""The providers of this installation: modules of this package, and those that other packages install.

A provider is a module here that names its factory `PROVIDER` (its file is called what the user types), or an entry
point in the group `lqmf.providers` that is such a factory. Adding one edits nothing. Only the provider that is asked
for is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import lqmf.providers
from lqmf.declared import entry_points
from lqmf.declared.providers import PROVIDER_GROUP, services
from lqmf.errors import SettingsError

if TYPE_CHECKING:
    from lqmf.providers.base import Provider
    from lqmf.providers.config import LlmSettings

Factory = Callable[["LlmSettings", Path], "Provider"]  # the settings, and the folder of finished artifacts


def build(name: str, settings: LlmSettings, artifacts: Path) -> Provider:
    """Return the provider called `name`, ready to be asked; nothing is sent.

    Raises SettingsError for an unknown name, and for a missing key: the error names the variable, the line for .env and
    the way without a key.
    """
    factory = _ours(name) or _installed(name)
    if factory is None and (fault := entry_points.fault(PROVIDER_GROUP, name)):
        raise SettingsError(fault, "`lqmf llm switch none` does without it.")
    if factory is None:
        raise SettingsError(f"There is no provider called '{name}'.", f"Choose one of: {', '.join(names())}.")
    return factory(settings, artifacts)


def names() -> list[str]:
    """Return the names of all providers; a broken plug-in is left out. Imports our own modules, which import no SDK."""
    ours = [found.name for found in pkgutil.iter_modules(lqmf.providers.__path__) if _ours(found.name)]
    return [*ours, *(name for name in services() if name not in ours)]


@cache
def _ours(name: str) -> Factory | None:
    module = f"{lqmf.providers.__name__}.{name}"
    if not name.isidentifier() or importlib.util.find_spec(module) is None:
        return None
    return getattr(importlib.import_module(module), "PROVIDER", None)


def _installed(name: str) -> Factory | None:
    def read(factory: Factory) -> Factory:
        return factory

    return entry_points.load(PROVIDER_GROUP, name, read) if name in services() else None
