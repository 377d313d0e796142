"""Refuses tokens that no local engine can run, before it runs them. Knows a vocabulary's size and a context's
length."""

from __future__ import annotations

from collections.abc import Sequence

from lqmf.errors import UsageError


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
