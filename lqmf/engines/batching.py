"""The promise of an engine that can run several sequences at once: one pass over the weights then serves all of them.

A promise only, beside the Engine promise; an engine without it is not timed in parallel. Knows no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


class Batch(Protocol):
    """Room for several sequences that grow together and are always equally long. Use as a context manager."""

    def clear(self) -> None:
        """Forget all sequences."""
        ...

    def feed(self, sequences: Sequence[Sequence[int]]) -> None:
        """Append equally many token ids to each sequence; return when they have been read."""
        ...

    def step(self) -> list[int]:
        """Return the likeliest next token of each sequence, and append it. An end token ends no sequence here."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Batch: ...

    def __exit__(self, *exc: object) -> None: ...


@runtime_checkable
class Batching(Protocol):
    """An engine that runs several sequences at once."""

    def batch(self, sequences: int, length: int) -> Batch:
        """Return a Batch with room for `sequences` sequences of `length` tokens. Raises OutOfMemory, GpuOutOfMemory."""
        ...
