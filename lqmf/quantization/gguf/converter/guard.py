"""The guard that keeps a model from running its own Python, or being unpickled, while it is converted.

Changes transformers and torch in the converter's process, and there only. Knows nothing of converting.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from lqmf.errors import RemoteCodeRefused, ToolchainError, UnsafeFormat


class RemoteCode:
    """The permission for transformers to run code that comes with a model: not given until `allow` is called in this
    process."""

    def __init__(self, dynamic: ModuleType) -> None:
        self._dynamic, self.allowed = dynamic, False

    def allow(self, modules: Path) -> None:
        """Allow transformers to run code that comes with a model; it copies the code to the folder `modules` first."""
        self.allowed = True
        self._dynamic.HF_MODULES_CACHE = str(modules)  # type: ignore[attr-defined]


def remote_code() -> RemoteCode:
    """Make transformers refuse code that comes with a model, whatever its callers ask for. Return the permission that
    lifts the refusal.

    Must run before anything imports `transformers.models.auto`, which binds these functions by name. Raises
    ToolchainError if it runs later.
    """
    if "transformers.models.auto.configuration_auto" in sys.modules:
        raise ToolchainError("transformers was loaded before it could be kept from running remote code.", "")
    from transformers import dynamic_module_utils as dynamic

    guarded, resolve = RemoteCode(dynamic), dynamic.resolve_trust_remote_code

    @functools.wraps(resolve)
    def resolved(trust_remote_code: bool | None, model_name: str, *args: Any, **kwargs: Any) -> bool:
        if guarded.allowed:
            return bool(resolve(trust_remote_code is not False, model_name, *args, **kwargs))
        try:
            return bool(resolve(False, model_name, *args, **kwargs))
        except ValueError as error:
            raise _refusal() from error

    def unless_refused(load: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(load)
        def loaded(*args: Any, **kwargs: Any) -> Any:
            if not guarded.allowed:
                raise _refusal()
            return load(*args, **kwargs)

        return loaded

    dynamic.resolve_trust_remote_code = resolved
    dynamic.get_class_from_dynamic_module = unless_refused(dynamic.get_class_from_dynamic_module)
    dynamic.get_class_in_module = unless_refused(dynamic.get_class_in_module)
    return guarded


def _refusal() -> RemoteCodeRefused:
    return RemoteCodeRefused(
        "This model's tokenizer or configuration wants to run Python code that comes with the model; it was not run.",
        "Read that code; if you trust it, say so for this model, or choose a model that needs none.",
    )


def pickles() -> None:
    """Make torch refuse to unpickle weights, whoever asks: `torch.load` raises UnsafeFormat."""
    import torch

    def refused(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise UnsafeFormat(
            "This model's weights are pickled Python objects, which can run code when read; they were not opened.",
            "Choose a model, or a revision of it, that has safetensors files.",
        )

    torch.load = refused
