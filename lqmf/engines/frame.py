"""Puts special tokens around a text as its tokenizer does: [CLS] .. [SEP], a beginning token, an end token. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def add_special_tokens(tokens: Sequence[int], bare: Sequence[int], whole: Sequence[int]) -> list[int]:
    """Return `tokens` with the special tokens around them that `whole` has around `bare`. Both are the tokens of one
    and the same text: `whole` with its special tokens, `bare` without."""
    size = len(bare)
    before = next((n for n in range(len(whole)) if list(whole[n : n + size]) == list(bare)), 0)
    return [*whole[:before], *tokens, *whole[before + size :]]
