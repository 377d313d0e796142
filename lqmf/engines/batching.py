"""What an engine adds that can run several sequences at once: one pass over the weights then serves them all.

A promise only, beside the Engine promise; an engine without it is one that is not timed in parallel. Knows no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


class Batch(Protocol):
    """Room for some sequences that grow together, each as long as the others. Use as a context manager."""

    def clear(self) -> None:
        """Forget all sequences."""
        ...

    def feed(self, sequences: Sequence[Sequence[int]]) -> None:
        """Append token ids to each sequence, to all of them equally many; returns when they have been read."""
        ...

    def step(self) -> list[int]:
        """The likeliest next token of each sequence, appended to it. An end token ends nothing here."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Batch: ...

    def __exit__(self, *exc: object) -> None: ...


@runtime_checkable
class Batching(Protocol):
    """An engine that runs several sequences at once."""

    def batch(self, sequences: int, length: int) -> Batch:
        """Room for `sequences` sequences of `length` tokens. Raises OutOfMemory, GpuOutOfMemory."""
        ...
