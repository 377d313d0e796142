"""What a plan is made from: what was said, the model, the machine, and what a provider advised. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lqmf.fit.fitting import Fitting
from lqmf.records import Advice, Hardware, ModelInfo, Request


@dataclass(frozen=True)
class PlanRequest:
    """All that a plan is made from. `said` is what the user said; `asked` the ids already answered;
    `advised` those of them whose answer was the recommended one; `download_bytes` what is not on this machine yet;
    `advice` is what a provider said, if one was asked."""

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
        """What the advice fills in: only what the user left open, and nothing once they chose another type than it."""
        told: Mapping[str, Any] = self.advice.slots if self.advice else {}
        if "type" in told and self.said.type not in (None, told["type"]):
            return {}
        return {name: value for name, value in told.items() if getattr(self.said, name) is None}

    def takes(self, name: str) -> bool:
        """Whether the slot has its value from the advice: left open, or a recommendation of it that was taken."""
        if self.advice is None or name not in self.advice.slots:
            return False
        taken = name in self.advised and getattr(self.said, name) == self.advice.slots[name]
        return taken or name in self.provided

    @property
    def follows(self) -> bool:
        """Whether anything comes from the advice."""
        return self.advice is not None and any(self.takes(name) for name in self.advice.slots)
