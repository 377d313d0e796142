"""A provider's client of its SDK, for the event loop that asks for it. Connections belong to a loop; a provider
outlives several."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
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


class SdkProvider(ABC, Generic[C]):
    """The part that providers with an SDK share: `model` at `base_url`, or at the SDK's own address."""

    def __init__(self, model: str, key: str, base_url: str | None = None) -> None:
        self.model = model
        self._key = key
        self._base_url = base_url
        self._client: LoopBound[C] = LoopBound(self._open, lambda client: client.close())  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    @abstractmethod
    def _open(self) -> C:
        """Return the SDK's client, which retries nothing."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
