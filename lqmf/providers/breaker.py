"""A circuit breaker for each provider: after repeated failure it is left alone for a while, then tried once.

Knows outcomes and a clock. A cancelled call counts for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lqmf.errors import BadAnswer, ProviderBusy, ProviderUnavailable
from lqmf.store.base import Row

FAILURES = 5  # in a row, until a provider is left alone
REST_S = 60.0  # that it is left alone for
_DOWN = (ProviderBusy.code, ProviderUnavailable.code)
_UP = ("ok", BadAnswer.code)  # a bad answer is an answer: the far end works


@dataclass(frozen=True)
class Health:
    """The state of one provider: closed (asked as usual), open (left alone), half-open (the next call decides)."""

    state: Literal["closed", "open", "half-open"]
    failures: int  # in a row
    rest_s: float  # until it is asked again; 0 unless open


class Breaker:
    """The breaker of the provider `name`. `rows` are its recorded calls, newest first: the failures of another process
    count here too."""

    def __init__(
        self, name: str, rows: Iterable[Row] = (), *, failures: int = FAILURES, rest_s: float = REST_S
    ) -> None:
        self._name, self._most, self._rest = name, failures, rest_s
        self._failures, self._opened_at = 0, 0.0
        latest = list(rows)[:failures]
        if len(latest) == failures and all(row["outcome"] in _DOWN for row in latest):
            self._failures, self._opened_at = failures, latest[0]["at"] + (latest[0]["seconds"] or 0.0)

    @property
    def health(self) -> Health:
        """Return the health of the provider now. When the time of rest is over it is half-open, whether or not it has
        been asked since."""
        if self._failures < self._most:
            return Health("closed", self._failures, 0.0)
        rest = max(0.0, self._opened_at + self._rest - time.time())
        return Health("open" if rest else "half-open", self._failures, rest)

    def check(self) -> None:
        """Raise ProviderUnavailable while the provider is left alone."""
        if rest := self.health.rest_s:
            raise ProviderUnavailable(
                f"{self._name} failed {self._most} times in a row and is left alone for a while.",
                "`lqmf llm status` says until when; `lqmf llm test` asks it all the same.",
                retry_in_seconds=round(rest, 1),
            )

    def report(self, outcome: str) -> None:
        """Count how a call ended: "ok" or an error's code. An outcome that says nothing of the far end (a cancel, a
        key) is ignored."""
        if outcome in _UP:
            self._failures = 0
        elif outcome in _DOWN:
            self._failures, self._opened_at = self._failures + 1, time.time()
