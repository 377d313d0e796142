"""Calls to the scripted provider, with everything between it and who asks as it is in earnest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lqmf import settings
from lqmf.errors import LqmfError
from lqmf.hub.auth import redact
from lqmf.providers.calls import Calls, Ledger
from lqmf.providers.config import llm_settings
from lqmf.providers.scripted import Line, Scripted
from lqmf.store.base import Row


def line(told: Any) -> Line:
    """What comes of a call: seconds of silence, an error, or an answer."""
    if isinstance(told, float):
        return Line(answer={}, delay_s=told)
    if isinstance(told, LqmfError):
        return Line(error=told.code, message=told.message)
    return Line(answer=told)


def scripted(*told: Any) -> tuple[Calls, Scripted]:
    """Calls that end as told, in order, and the provider that is asked; nothing is tried twice."""
    provider = Scripted([line(one) for one in told])
    return calls(provider), provider


def calls(provider: Scripted, options: Mapping[str, Any] | None = None) -> Calls:
    """Calls to one provider, recorded nowhere."""
    said = {"llm_provider": "scripted", "max_retries": 0, **(options or {})}
    loaded = settings.load(Path("/nowhere"), said)

    def rows(**wanted: Any) -> list[Row]:
        return []

    ledger = Ledger(lambda row: None, rows)
    return Calls(llm_settings(loaded), lambda name: provider, ledger, redact=redact)


def answer(**told: Any) -> dict[str, Any]:
    """A recommendation that changes nothing but what is told."""
    return {"candidate": None, "context": None, "priority": None, "reason": "Novels are long.", "notes": [], **told}
