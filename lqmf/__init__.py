"""LQMF: one sentence in, a quantized language model with a measured quality receipt out.

The commands as functions for Python programs; no question is asked, and no terminal is needed.

    >>> import lqmf
    >>> plans = lqmf.plan("demo", bits=4, device="cpu")
    >>> plans.plan.method, plans.plan.type
    ('gguf', 'Q4_K_M')
    >>> str(plans).splitlines()[0]
    'demo as Q4_K_M, 4 bits'
    >>> made = lqmf.quantize("demo", type="Q4_K_M", test="none").artifacts[0]
    >>> [artifact.name for artifact in lqmf.artifacts()]
    ['demo_gguf_4bit_Q4_K_M']
    >>> with lqmf.load(made.name) as engine:
    ...     engine.vocabulary
    4096

Importing this package, and planning with it, imports nothing heavy: no torch, transformers, llama_cpp or provider SDK.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from lqmf import version

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal, Unpack

    from lqmf.engines.local import LocalEngine
    from lqmf.operations.options import Options
    from lqmf.operations.plan import Plans
    from lqmf.operations.quantize import Quantized
    from lqmf.operations.test import Tested
    from lqmf.records import Artifact

__version__ = version.VERSION

__all__ = ["__version__", "artifacts", "load", "measure", "plan", "quantize"]


def plan(model: str, *, workspace: str | Path | None = None, **options: Unpack[Options]) -> Plans:
    """Plan the quantization of `model`; return the plans with their costs and the reason of every choice. No weights
    are fetched. Raises LqmfError."""
    from lqmf.operations import library
    from lqmf.operations import plan as operation
    from lqmf.operations.options import request

    found = library.carried_out(operation.run, request("plan", model, options), workspace)
    assert isinstance(found, operation.Plans), "a model was named"
    return found


def quantize(model: str, *, workspace: str | Path | None = None, **options: Unpack[Options]) -> Quantized:
    """Plan, download, convert, quantize and measure `model`; return the artifacts. Choices that the options leave open
    are taken as recommended. Raises LqmfError."""
    from lqmf.operations import library
    from lqmf.operations import quantize as operation
    from lqmf.operations.options import request

    return library.carried_out(operation.run, request("quantize", model, options), workspace)


def measure(
    name: str,
    *,
    base: str | None = None,
    depth: Literal["quick", "comprehensive"] = "quick",
    workspace: str | Path | None = None,
) -> Tested:
    """Measure an artifact, or a GGUF file given by its path, against its source or against the model `base`; return the
    artifact with its receipt. Raises LqmfError."""
    from lqmf.operations import library
    from lqmf.operations import test as operation
    from lqmf.records import Request

    request = Request(intent="test", exact=True, name=name, test=depth, base=base)
    found = library.carried_out(operation.run, request, workspace)
    assert isinstance(found, operation.Tested), "an artifact was named"
    return found


def load(
    name: str, *, device: Literal["auto", "cpu", "gpu"] = "auto", workspace: str | Path | None = None
) -> LocalEngine:
    """Load an artifact into this process, to be run as its manifest says; `with` frees its memory at the end. Raises
    LqmfError.

    The engine generates, chats, counts tokens and gives logits: see `lqmf.engines.promise.Engine`.
    """
    from pathlib import Path

    from lqmf.engines.registry import open_artifact
    from lqmf.operations import library

    with library.opened(workspace) as app:
        path = Path(app.shelf.find(name).path)
    return open_artifact(path, device=device)


class _Artifacts(ModuleType):
    """The room `lqmf.artifacts`, which a program may call as well: a package and a function of one name."""

    def __call__(self, *, workspace: str | Path | None = None) -> tuple[Artifact, ...]:
        """Return the finished artifacts of a workspace, the newest first. Raises LqmfError."""
        from lqmf.operations import library

        with library.opened(workspace) as app:
            return tuple(app.shelf.artifacts())


if TYPE_CHECKING:
    artifacts: _Artifacts
else:
    importlib.import_module("lqmf.artifacts").__class__ = _Artifacts
