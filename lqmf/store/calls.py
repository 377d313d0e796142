"""Makes the rows of calls to LLM providers, and sums up a day's rows. Opens no store, and calls no provider."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lqmf.store.base import Row

CHARACTERS_PER_TOKEN = 4  # of English text, by https://help.openai.com/en/articles/4936856; only where nobody counted


@dataclass(frozen=True)
class Spent:
    """The sums of calls: their number, their tokens, and `cost` in US dollars, of those calls whose price is known."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0


def day_of(at: float) -> str:
    """Return the day of `at` (seconds since 1970) by this machine's clock, as "2026-11-25"."""
    return datetime.fromtimestamp(at).date().isoformat()


def call_row(
    provider: str,
    model: str,
    purpose: str,
    outcome: str,
    *,
    at: float,
    seconds: float,
    tokens: tuple[int | None, int | None],
    characters: int,
    cost: float | None,
    prompt: Sequence[Mapping[str, str]] | None,
) -> Row:
    """Return a row of `llm_calls`. `outcome` is "ok", "cancelled", "failed" or an error's code; `tokens` are (sent,
    received), None where nobody counted; `characters` counts both; `prompt` is None unless the user wants it kept."""
    return {
        "at": at,
        "day": day_of(at),
        "provider": provider,
        "model": model,
        "purpose": purpose,
        "outcome": outcome,
        "seconds": seconds,
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "characters": characters,
        "cost": cost,
        "prompt": None if prompt is None else [dict(message) for message in prompt],
    }


def spent(rows: Iterable[Row]) -> Spent:
    """Return the sums of the calls in `rows`. Where a provider counted no tokens, they are estimated from the
    characters."""
    found = list(rows)
    return Spent(len(found), sum(map(_tokens, found)), math.fsum(row["cost"] or 0.0 for row in found))


def _tokens(row: Row) -> int:
    if row["input_tokens"] is None and row["output_tokens"] is None:
        return math.ceil((row["characters"] or 0) / CHARACTERS_PER_TOKEN)
    return (row["input_tokens"] or 0) + (row["output_tokens"] or 0)
