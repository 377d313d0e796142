"""Finds the engine for a model on disk. An engine is a package here with a module `engine` that has `can_open(path)`
and `open_model(path)`, or an entry point in the group `lqmf.engines` that names such a module. Knows no engine by
name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import lqmf.engines
from lqmf.declared import entry_points, methods
from lqmf.engines.local import LocalEngine
from lqmf.errors import NotBuilt, NotFound
from lqmf.workspace import MANIFEST, read_json

ENGINE_GROUP = "lqmf.engines"


def open_engine(path: Path, **options: Any) -> LocalEngine:
    """Return the model at `path` (a file or a folder), loaded. `options` go to the engine (context, device, threads,
    ..).

    Raises NotFound if `path` does not exist, NotBuilt if no engine runs the model, and as the engine does.
    """
    if not path.exists():
        raise NotFound(f"There is nothing at {path}.", "lqmf test discover")
    for module in _engines(methods.of(_method(path)).engine):
        if module.can_open(path):
            engine: LocalEngine = module.open_model(path, **options)
            return engine
    raise NotBuilt(
        f"GGUF files and folders with a config.json and *.safetensors can be run; {path.name} is neither.",
        "lqmf test discover shows what there is.",
    )


def open_artifact(path: Path, *, device: str, **options: Any) -> LocalEngine:
    """Return the model at `path`, loaded with the run settings of its manifest; `options` that are not None replace
    them."""
    run = _run(path)
    planned = {
        "context": run.get("context"),
        "k_type": run.get("k_type"),
        "v_type": run.get("v_type"),
        "batch": run.get("ubatch"),
        "gpu_layers": run.get("gpu_layers") if device != "cpu" else None,
    }
    said = {name: value for name, value in options.items() if value is not None}
    return open_engine(path, device=device, **{k: v for k, v in planned.items() if v is not None} | said)


def _run(path: Path) -> Mapping[str, Any]:
    """Return the run settings in the manifest beside the weights; empty if there is no manifest."""
    manifest = path / MANIFEST
    return read_json(manifest).get("run") or {} if manifest.is_file() else {}


def _method(path: Path) -> str:
    """Return the method that the manifest beside the weights names; empty if there is no manifest."""
    manifest = path / MANIFEST
    return str((read_json(manifest).get("plan") or {}).get("method") or "") if manifest.is_file() else ""


def _engines(first: str) -> Iterator[ModuleType]:
    """Yield every engine: the engine of the entry point `first`, LQMF's own, then those of other packages."""
    if (engine := entry_points.load(ENGINE_GROUP, first, _engine)) is not None:
        yield engine
    for found in pkgutil.iter_modules(lqmf.engines.__path__, "lqmf.engines."):
        if found.ispkg and hasattr(module := importlib.import_module(f"{found.name}.engine"), "can_open"):
            yield module
    for name in entry_points.points(ENGINE_GROUP):
        if (engine := entry_points.load(ENGINE_GROUP, name, _engine)) is not None:
            yield engine


def _engine(module: Any) -> ModuleType:
    """Return `module`. Raises TypeError where it cannot open models."""
    if not callable(getattr(module, "can_open", None)) or not callable(getattr(module, "open_model", None)):
        raise TypeError("it has no can_open(path) and open_model(path)")
    found: ModuleType = module
    return found
