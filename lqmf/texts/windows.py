"""Cuts a text into windows of tokens, always the same windows in the same order. Pure; knows no model.

The convention is llama-perplexity's: the whole text is tokenized once, cut into windows of equal length without
overlap, the rest dropped; where the model begins texts with a token (BOS), it replaces the first token of each window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def cut(tokens: Sequence[int], length: int, bos: int | None = None) -> list[list[int]]:
    """Cut `tokens` into windows of `length` tokens; `bos` (None: the model has no such convention) replaces each first
    token."""
    windows = [list(tokens[start : start + length]) for start in range(0, len(tokens) - length + 1, length)]
    if bos is not None:
        for window in windows:
            window[0] = bos
    return windows


def first_scored(length: int) -> int:
    """Return the position whose logits are the first to count: the second half of a window is scored, with the first
    half as its context. Logits at `first_scored(n)` .. n-2 predict the tokens after them, so n - 1 - n//2 tokens
    count."""
    return length // 2


def targets(window: Sequence[int]) -> NDArray[np.int64]:
    """Return the tokens (N,) that follow the scored positions, N = n - 1 - n//2 for a window of n tokens."""
    import numpy as np

    return np.asarray(window[first_scored(len(window)) + 1 :], dtype=np.int64)
