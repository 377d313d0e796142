"""The cost of a call to a provider, for the models whose list price its provider declares. Makes no call."""

from __future__ import annotations

import datetime

from lqmf.declared.providers import price


def cost(
    model: str, input_tokens: int | None, output_tokens: int | None, day: datetime.date | None = None
) -> float | None:
    """Return the US dollars for a call of `day` (today, where left out); None where the price or the tokens are not
    known."""
    found = price(model, day or datetime.date.today())
    if found is None or input_tokens is None or output_tokens is None:
        return None
    return (input_tokens * found[0] + output_tokens * found[1]) / 1e6
