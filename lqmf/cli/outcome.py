"""What a turn at the terminal comes to. A record only; draws nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lqmf.records import Proposal


@dataclass(frozen=True)
class Outcome:
    """`data` is the `--json` document; `view` is a rich renderable, or a string, for people. `failed` marks a turn that
    makes a replay exit 1. `proposal` may be accepted next."""

    data: Any
    view: Any = None
    exit_code: int = 0
    proposal: Proposal | None = None

    @property
    def failed(self) -> bool:
        """Whether the turn failed; one that was cancelled did not."""
        return self.exit_code not in (0, 130)
