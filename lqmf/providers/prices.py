"""What a call to a provider costs, for the models whose list price is known. Knows prices, dated; asks nobody.

List prices in US dollars for a million tokens, for prompts up to 100,000 tokens, without discounts for batches or
caches, as the providers' pages had them in November 2026:
https://platform.claude.com/docs/en/models/overview, https://developers.openai.com/api/docs/pricing,
https://ai.google.dev/gemini-api/docs/pricing.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

Price = tuple[float, float]  # US dollars for a million tokens in, and out

PRICES: Mapping[str, Price] = {
    "claude-haiku-5-5": (0.10, 0.50),
    "claude-sonnet-5-5": (2.0, 10.0),
    "claude-opus-5-5": (4.0, 20.0),
    "claude-sonnet-5": (2.0, 10.0),
    "claude-opus-5": (5.0, 25.0),
    "claude-haiku-4-5": (1.0, 5.0),
    "gpt-6-luna": (0.10, 0.50),
    "gpt-6.1-terra": (1.0, 5.0),
    "gpt-6.1-sol": (2.0, 10.0),
    "gemini-3.8-flash": (1.5, 7.5),
}
# model -> the last day of a lower price
_UNTIL: Mapping[str, tuple[datetime.date, Price]] = {
    "gemini-3.8-flash": (datetime.date(2026, 12, 31), (0.75, 3.75)),
}


def cost(
    model: str, input_tokens: int | None, output_tokens: int | None, day: datetime.date | None = None
) -> float | None:
    """US dollars for a call of `day` (today, where left out); None where price or tokens are not known."""
    price = _price(model, day or datetime.date.today())
    if price is None or input_tokens is None or output_tokens is None:
        return None
    return (input_tokens * price[0] + output_tokens * price[1]) / 1e6


def _price(model: str, day: datetime.date) -> Price | None:
    if model in _UNTIL and day <= _UNTIL[model][0]:
        return _UNTIL[model][1]
    return PRICES.get(model)
