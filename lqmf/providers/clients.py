"""An SDK's client for the event loop that asks for it. Connections belong to a loop; a provider outlives several."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

C = TypeVar("C")


class LoopBound(Generic[C]):
    """A client for the running event loop: `open_` makes it in that loop, `close` gives it back in the same loop."""

    def __init__(self, open_: Callable[[], C], close: Callable[[C], Awaitable[None]]) -> None:
        self._open = open_
        self._close = close
        self._held: tuple[asyncio.AbstractEventLoop, C] | None = None

    def get(self) -> C:
        """Return the client of the running loop. The client of a loop that has ended is dropped: its sockets are closed
        with the loop."""
        loop = asyncio.get_running_loop()
        if self._held is None or self._held[0] is not loop:
            self._held = (loop, self._open())
        return self._held[1]

    async def close(self) -> None:
        """Close the client, where it belongs to the running loop."""
        held, self._held = self._held, None
        if held is not None and held[0] is asyncio.get_running_loop():
            with contextlib.suppress(OSError):
                await self._close(held[1])
