"""Refuses tokens that no local engine can run, before it runs them. Knows a vocabulary's size and a context's
length."""

from __future__ import annotations

from collections.abc import Sequence

from lqmf.errors import UsageError

DEFAULT_CONTEXT = 4096  # tokens at most where nobody says


def check_tokens(tokens: Sequence[int], vocabulary: int) -> None:
    """Raise UsageError for a token outside the vocabulary."""
    if tokens and not (min(tokens) >= 0 and max(tokens) < vocabulary):
        raise UsageError(f"A token is outside this model's vocabulary of {vocabulary}.", "Tokenize with it.")


def check_prompt(tokens: Sequence[int], context_length: int) -> None:
    """Raise UsageError for a prompt of no tokens, or of more tokens than the context holds."""
    if not tokens:
        raise UsageError("There is no prompt to continue.", "Give at least one word.")
    if len(tokens) > context_length:
        raise UsageError(
            f"The prompt has {len(tokens)} tokens; the context holds {context_length}.",
            "Shorten the prompt, or give a larger --context.",
        )


def check_text(tokens: Sequence[int], context_length: int) -> None:
    """Raise UsageError for a text of no tokens, or of more tokens than the context holds."""
    if not 0 < len(tokens) <= context_length:
        message = f"A text of {len(tokens)} tokens does not fit a context of {context_length}."
        raise UsageError(message, "Use shorter texts.")


def context(name: str, wanted: int | None, trained: int | None) -> int:
    """Return the context's length in tokens. Raises UsageError for more than the model `name` was trained for."""
    if wanted is not None and not 0 < wanted <= (trained or wanted):
        message = f"{name} was trained for a context of {trained} tokens; {wanted} is not possible."
        raise UsageError(message, f"Give --context {trained}, or less.")
    return wanted or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def check_batch(sequences: Sequence[Sequence[int]], wanted: int, left: int, room: int) -> int:
    """Return the length of `wanted` sequences that are equally long. Raises UsageError for other sequences, and for
    longer ones than the `left` tokens that are free of the `room` of each."""
    lengths = {len(sequence) for sequence in sequences}
    if len(sequences) != wanted or len(lengths) != 1 or not (count := lengths.pop()):
        raise UsageError(f"{wanted} sequences of the same length are needed.", "Cut them alike.")
    if count > left:
        raise UsageError(f"Each sequence has room for {room} tokens.", "Make room for more.")
    return count
