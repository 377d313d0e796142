"""How long a provider may take: a clock that counts down, and waits that end with it as one of our errors."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from lqmf.providers.base import Usage
from lqmf.providers.failures import unreachable


class Clock:
    """Counts down from `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds; never less than none."""
        return max(0.0, self._end - time.monotonic())


@contextlib.asynccontextmanager
async def within(seconds: float, name: str) -> AsyncIterator[None]:
    """Raises ProviderUnavailable when the block is not done in time."""
    try:
        async with asyncio.timeout(seconds):
            yield
        return
    except TimeoutError:
        pass
    raise unreachable(name, "did not answer in time")


async def next_item(pieces: AsyncIterator[str | Usage], seconds: float, name: str) -> str | Usage | None:
    """The next item, None after the last."""
    async with within(seconds, name):
        return await anext(pieces, None)
