"""Runs several sequences in one call of a transformers model, and keeps its cache between calls. Knows tokens; no
text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lqmf.engines import limits
from lqmf.engines.promise import Closing
from lqmf.errors import UsageError

Forward = Callable[..., Any]  # (token ids of N sequences, keep=1, use_cache=True, **cache) -> the model's output


class TransformersBatch(Closing):
    """Room for `sequences` sequences of `length` tokens; `forward` runs them, `caches` names the outputs that are its
    cache."""

    def __init__(self, forward: Forward, caches: Sequence[str], sequences: int, length: int) -> None:
        self._forward, self._caches = forward, caches
        self._sequences, self._length = sequences, length
        self.clear()

    def clear(self) -> None:
        """Forget all sequences."""
        self._cache: dict[str, Any] = {}
        self._logits: Any = None  # (N, V) of what comes next
        self._read = 0

    def feed(self, sequences: Sequence[Sequence[int]]) -> None:
        """Append equally many token ids to each sequence. Raises UsageError if the lengths differ, the tokens do not
        fit or the model keeps no cache, OutOfMemory .."""
        count = limits.check_batch(sequences, self._sequences, self._length - self._read, self._length)
        out = self._forward(sequences, keep=1, use_cache=True, **self._cache)
        self._cache = {name: out[name] for name in self._caches if out.get(name) is not None}
        self._logits = out.logits[:, -1].float().cpu()  # waits until a GPU is done
        self._read += count
        if not self._cache:
            raise UsageError("This model keeps no cache to go on from.", "Time it one text at a time.")

    def step(self) -> list[int]:
        """Return the likeliest next token of each sequence, and append it. Raises UsageError before the first
        `feed`."""
        if self._logits is None:
            raise UsageError("There is nothing to continue.", "Feed tokens first.")
        tokens = [int(token) for token in self._logits.argmax(dim=-1)]
        self.feed([[token] for token in tokens])
        return tokens

    def close(self) -> None:
        """Free the cache."""
        self.clear()
