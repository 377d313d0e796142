"""The Provider promise: messages in, one validated object out, or prose piece by piece.

A provider is one SDK with no resilience of its own: `calls.Calls` retries, falls back, counts and records. Knows no
prompt, no store and no planner. A module here that names a factory `PROVIDER` is a provider (see `registry`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Message:
    """One message of a conversation. Several system messages are put together, in order."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Usage:
    """Tokens as the far end counted them; None where it does not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True)
class Completion(Generic[T]):
    """A validated answer. `seconds` is how long it took; `model` is the far end's own name of the model that
    answered."""

    value: T
    usage: Usage
    seconds: float
    model: str
    provider: str


class Provider(Protocol):
    """One far end. Both calls raise ProviderError alone, and hold no key in it; a cancelled call closes its connection.

    `timeout_s` is the longest silence of the far end in seconds: until it connects, until its first byte, and between
    two. Tools are neither offered nor run: an answer that calls one is a BadAnswer.
    """

    @property
    def name(self) -> str:
        """Return the name that the user types: claude, openai, gemini, local, scripted."""
        ...

    @property
    def model(self) -> str: ...

    async def complete(
        self, messages: Sequence[Message], schema: type[T], *, max_tokens: int, timeout_s: float
    ) -> Completion[T]:
        """Return an object of `schema`. Raises ProviderError; BadAnswer when the answer is no such object."""
        ...

    def stream(self, messages: Sequence[Message], *, max_tokens: int, timeout_s: float) -> AsyncIterator[str | Usage]:
        """Yield prose, each piece as it arrives; last, where the far end counts tokens, the Usage. Raises
        ProviderError."""
        ...

    async def close(self) -> None:
        """Close the connections. A second call does nothing."""
        ...
