"""A circuit breaker for each provider: after repeated failure it is left alone for a while, then tried once.

pybreaker holds the state. It guards functions and tornado's coroutines, but not asyncio's, and it counts a cancelled
trial as a success. So calls run outside of it, and their outcomes are reported to it; a cancelled call counts for
nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from lqmf.errors import BadAnswer, LqmfError, ProviderBusy, ProviderUnavailable
from lqmf.store.base import Row

FAILURES = 5  # in a row, until a provider is left alone
REST_S = 60.0  # that it is left alone for
_DOWN = (ProviderBusy.code, ProviderUnavailable.code)
_UP = ("ok", BadAnswer.code)  # a bad answer is an answer: the far end works

State = Literal["closed", "open", "half-open"]


@dataclass(frozen=True)
class Health:
    """The state of one provider: closed (asked as usual), open (left alone), half-open (the next call decides)."""

    state: State
    failures: int  # in a row
    rest_s: float  # until it is asked again; 0 unless open


class Breaker:
    """The breaker of the provider `name`. `rows` are its recorded calls, newest first: the failures of another process
    count here too."""

    def __init__(
        self, name: str, rows: Iterable[Row] = (), *, failures: int = FAILURES, rest_s: float = REST_S
    ) -> None:
        from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitMemoryStorage

        self._name = name
        self._storage = CircuitMemoryStorage(STATE_CLOSED)
        self._circuit = CircuitBreaker(
            failures, rest_s, state_storage=self._storage, name=name, throw_new_error_on_trip=False
        )
        self._recall(list(rows)[:failures])

    def _recall(self, rows: list[Row]) -> None:
        if len(rows) < self._circuit.fail_max or any(row["outcome"] not in _DOWN for row in rows):
            return
        for _ in rows:
            self._storage.increment_counter()
        self._circuit.open()
        self._storage.opened_at = datetime.fromtimestamp(rows[0]["at"] + (rows[0]["seconds"] or 0.0), UTC)

    @property
    def health(self) -> Health:
        """Return the health of the provider now. When the time of rest is over it is half-open, whether or not it has
        been asked since."""
        rest = self._rest_s()
        state: State = "closed" if self._circuit.current_state == "closed" else "open" if rest else "half-open"
        return Health(state, self._circuit.fail_counter, rest)

    def check(self) -> None:
        """Raise ProviderUnavailable while the provider is left alone."""
        if rest := self._rest_s():
            raise ProviderUnavailable(
                f"{self._name} failed {self._circuit.fail_max} times in a row and is left alone for a while.",
                "`lqmf llm status` says until when; `lqmf llm test` asks it all the same.",
                retry_in_seconds=round(rest, 1),
            )

    def report(self, outcome: str) -> None:
        """Count how a call ended: "ok" or an error's code. An outcome that says nothing of the far end (a cancel, a
        key) is ignored."""
        from pybreaker import CircuitBreakerError

        with contextlib.suppress(_Down, CircuitBreakerError):
            if outcome in _DOWN:
                self._circuit.call(_fail)
            elif outcome in _UP:
                self._circuit.call(lambda: None)

    def _rest_s(self) -> float:
        opened = self._storage.opened_at
        if self._circuit.current_state != "open" or opened is None:
            return 0.0
        left = opened.astimezone(UTC) + timedelta(seconds=self._circuit.reset_timeout) - datetime.now(UTC)
        return max(0.0, left.total_seconds())


class _Down(LqmfError):
    """A failure, told to pybreaker and to nobody else."""


def _fail() -> None:
    raise _Down("")
