"""What a tokenizer puts around a text: [CLS] .. [SEP], a beginning token, an end token. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def add_special_tokens(tokens: Sequence[int], bare: Sequence[int], whole: Sequence[int]) -> list[int]:
    """`tokens` with around them what stands in `whole` around `bare`: the same text tokenized with its frame and
    without."""
    size = len(bare)
    before = next((n for n in range(len(whole)) if list(whole[n : n + size]) == list(bare)), 0)
    return [*whole[:before], *tokens, *whole[before + size :]]
