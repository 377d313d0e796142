"""Which quantization backends there are: modules of this package, and those that others install.

A backend is a module here (or a package here with a module `backend`) that names its class `BACKEND`, or an entry
point in the group `lqmf.backends`. Adding one edits nothing. Imports backends when asked, and nothing heavy.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import Any

from lqmf import quantization
from lqmf.errors import UsageError
from lqmf.quantization.promise import Backend

ENTRY_POINTS = "lqmf.backends"
_NOT_BACKENDS = {"promise", "registry"}


@cache
def backends() -> dict[str, Backend]:
    """Every backend by its name, our own first."""
    made: dict[str, Backend] = {}
    for factory in (*_ours(), *_installed()):
        backend: Backend = factory()
        made.setdefault(backend.name, backend)
    return made


def backend(name: str) -> Backend:
    """The backend called `name`. Raises UsageError, naming those there are."""
    known = backends()
    if name not in known:
        raise UsageError(f"There is no quantization method called '{name}'.", f"Choose one of: {', '.join(known)}.")
    return known[name]


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


def _installed() -> Iterator[Any]:
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        yield point.load()
