"""Defines the input of a plan: the user's request, the model, the machine, and a provider's advice. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lqmf.fit.fitting import Fitting
from lqmf.records import Advice, Hardware, ModelInfo, Request


@dataclass(frozen=True)
class PlanRequest:
    """The input of a plan. `said` is the user's request; `asked` the ids of questions already answered; `advised` those
    whose answer was the recommended one; `download_bytes` the bytes that are not on this machine yet; `advice` the
    answer of a provider, if one was asked."""

    said: Request
    info: ModelInfo
    hardware: Hardware
    fit: Fitting
    asked: frozenset[str] = frozenset()
    advised: frozenset[str] = frozenset()
    download_bytes: int = 0
    advice: Advice | None = None

    @property
    def provided(self) -> Mapping[str, Any]:
        """Return the values that the advice fills in: only those that the user left open, and none once the user chose
        another type than the advised type."""
        told: Mapping[str, Any] = self.advice.slots if self.advice else {}
        if "type" in told and self.said.type not in (None, told["type"]):
            return {}
        return {name: value for name, value in told.items() if getattr(self.said, name) is None}

    def takes(self, name: str) -> bool:
        """Return whether the slot has its value from the advice: the user left it open, or took the advised value."""
        if self.advice is None or name not in self.advice.slots:
            return False
        taken = name in self.advised and getattr(self.said, name) == self.advice.slots[name]
        return taken or name in self.provided

    @property
    def follows(self) -> bool:
        """Return whether any value comes from the advice."""
        return self.advice is not None and any(self.takes(name) for name in self.advice.slots)
