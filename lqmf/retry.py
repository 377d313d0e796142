"""When to try again, and how long to wait. Knows the error tree and clocks; knows nothing of HTTP."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lqmf.errors import LqmfError

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")
OnRetry = Callable[[LqmfError, float], None]  # the error, and the seconds until the next attempt


@dataclass(frozen=True)
class RetryPolicy:
    """`max_retries` further attempts, waiting `base_seconds` doubled each time with jitter, `max_seconds` at most.

    A server's Retry-After is obeyed up to `patience_seconds`; where it asks for more, the error is handed on at once.
    No attempt begins later than `within_seconds` after the first did.
    """

    max_retries: int = 3
    base_seconds: float = 1.0
    max_seconds: float = 30.0
    patience_seconds: float = 300.0
    within_seconds: float = math.inf

    async def run(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        on_retry: OnRetry = lambda error, seconds: None,
        worth: Callable[[LqmfError], bool] = lambda error: error.transient,
    ) -> T:
        """Call `attempt` until it succeeds and return its result; raise the last error when no attempt is left. `worth`
        says whether an error may heal; `on_retry` gets each error and the seconds until the next attempt."""
        import tenacity

        def again(error: BaseException) -> bool:
            return isinstance(error, LqmfError) and worth(error) and _asked(error) <= self.patience_seconds

        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self.max_retries + 1), tenacity.stop_before_delay(self.within_seconds)
            ),
            wait=self._wait,
            retry=tenacity.retry_if_exception(again),
            before_sleep=lambda state: _tell(state, on_retry),
            reraise=True,
        )

        async def called() -> T:
            return await attempt()

        return await retrying(called)

    def _wait(self, state: RetryCallState) -> float:
        doubled = min(self.max_seconds, self.base_seconds * (1 << (state.attempt_number - 1)))
        asked = _asked(state.outcome.exception() if state.outcome else None)
        return max(asked, doubled) + random.uniform(0, self.base_seconds)


def _asked(error: BaseException | None) -> float:
    return (error.details.get("retry_after_seconds") or 0.0) if isinstance(error, LqmfError) else 0.0


def _tell(state: RetryCallState, on_retry: OnRetry) -> None:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, LqmfError):
        on_retry(error, state.next_action.sleep if state.next_action else 0.0)
