"""Adds to the Engine promise the parts of an engine that holds a model on this machine. Knows nothing else."""

from __future__ import annotations

from typing import Protocol

from lqmf.engines.promise import Engine


class LocalEngine(Engine, Protocol):
    """An engine that can be measured. `device` is where it runs: "cpu" or "gpu"; `reason` says why it runs there, and
    in which precision."""

    device: str
    reason: str

    def ends(self, token: int) -> bool:
        """Return whether generation stops at `token`."""
        ...

    def __enter__(self) -> LocalEngine: ...
