"""The day's budget for all providers together, and a clear stop where it is used up. Knows rows, and no store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.errors import BudgetSpent

if TYPE_CHECKING:
    from lqmf.providers.config import Budget
    from lqmf.store.calls import Spent


def is_limited(budget: Budget) -> bool:
    """Return whether the budget has any limit."""
    return (budget.calls, budget.tokens, budget.cost) != (None, None, None)


def check(budget: Budget, spent: Spent) -> None:
    """Raise BudgetSpent, which names the limit and how to change it, where one more call is not allowed."""
    limits = (
        ("llm_daily_calls", budget.calls, spent.calls, "{:,} calls to providers"),
        ("llm_daily_tokens", budget.tokens, spent.tokens, "{:,} tokens to and from providers"),
        ("llm_daily_cost", budget.cost, spent.cost, "${:.2f} for providers"),
    )
    for setting, most, used, words in limits:
        if most is not None and used >= most:
            raise BudgetSpent(
                f"The day's {words.format(most)} are used up.",
                f"It begins anew at midnight; `lqmf config set {setting} N` allows more, `none` takes the limit away.",
                limit=setting,
            )
