"""The quantization backends: modules of this package, and plug-ins of other packages.

A backend is a module here (or a package here with a module `backend`) that names its class `BACKEND`, or an entry point
in the group `lqmf.backends`. To add a backend, no existing file is edited. Backends are imported when they are asked
for; that imports nothing heavy.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import Any

from lqmf import quantization
from lqmf.declared import entry_points
from lqmf.declared.methods import BACKEND_GROUP, Method
from lqmf.errors import UsageError
from lqmf.quantization.promise import Backend

_NOT_BACKENDS = {"promise", "registry"}


@cache
def backends() -> dict[str, Backend]:
    """Return all backends by name, those of this package first; a plug-in that cannot be loaded is left out."""
    made: dict[str, Backend] = {}
    for each in (*(factory() for factory in _ours()), *_installed()):
        made.setdefault(each.name, each)
    return made


def backend(name: str) -> Backend:
    """Return the backend called `name`. Raises UsageError, which lists the known names."""
    known = backends()
    if name not in known:
        raise UsageError(f"There is no quantization method called '{name}'.", f"Choose one of: {', '.join(known)}.")
    return known[name]


def type_names() -> list[str]:
    """Return the types of all methods, those of GGUF, which runs everywhere, first; of each method its usual ones
    first."""
    known = sorted(backends().values(), key=lambda each: each.name != "gguf")
    return [name for each in known for name in each.types]


def _ours() -> Iterator[Any]:
    for found in pkgutil.iter_modules(quantization.__path__, f"{quantization.__name__}."):
        if found.name.rpartition(".")[2] in _NOT_BACKENDS:
            continue
        name = f"{found.name}.backend" if found.ispkg else found.name
        if importlib.util.find_spec(name) is None:
            continue
        factory = getattr(importlib.import_module(name), "BACKEND", None)
        if factory is not None:
            yield factory


def _installed() -> Iterator[Backend]:
    for name in entry_points.points(BACKEND_GROUP):
        made = entry_points.load(BACKEND_GROUP, name, _made)
        if made is not None:
            yield made


def _made(factory: Any) -> Backend:
    """Return the backend that `factory` makes. Raises TypeError for one that lacks a part of the promise."""
    made: Backend = factory()
    promised = (*Backend.__annotations__, *(name for name in vars(Backend) if not name.startswith("_")))
    missing = [name for name in promised if not hasattr(made, name)]
    if missing or not isinstance(made.declared, Method):
        raise TypeError(f"it lacks {', '.join(missing)}" if missing else "its `declared` is no lqmf.plugin.Method")
    return made
