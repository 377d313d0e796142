"""How long a provider may take: a clock that counts down, and waits that raise one of our errors when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from lqmf.providers.base import Usage
from lqmf.providers.failures import unreachable


class Clock:
    """A clock that counts down from `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, never below 0."""
        return max(0.0, self._end - time.monotonic())


@contextlib.asynccontextmanager
async def within(seconds: float, name: str) -> AsyncIterator[None]:
    """Raise ProviderUnavailable when the block is not done within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
        return
    except TimeoutError:
        pass
    raise unreachable(name, "did not answer in time")


async def next_item(pieces: AsyncIterator[str | Usage], seconds: float, name: str) -> str | Usage | None:
    """Return the next item, None after the last. Raises ProviderUnavailable when it takes longer than `seconds`."""
    async with within(seconds, name):
        return await anext(pieces, None)
