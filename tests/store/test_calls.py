"""Calls to providers add up by the day; what nobody counted is taken from the characters."""

from lqmf.store.calls import Spent, call_row, day_of, spent

COUNTED = (10, 5)


def row(tokens: tuple = COUNTED, characters: int = 90, cost: float | None = 0.25, prompt=None) -> dict:
    return call_row(
        "claude", "m", "plan", "ok", at=1e9, seconds=1.0, tokens=tokens, characters=characters, cost=cost, prompt=prompt
    )


def test_calls_tokens_and_cost_add_up():
    assert spent([]) == Spent()
    rows = [row(), row((None, 7), cost=None), row((None, None), characters=9)]
    assert spent(rows) == Spent(3, 15 + 7 + 3, 0.5)


def test_a_row_names_its_day_and_holds_a_prompt_only_where_one_is_given():
    assert row()["day"] == day_of(1e9)
    assert row()["prompt"] is None
    assert row(prompt=[{"role": "user", "content": "x"}])["prompt"] == [{"role": "user", "content": "x"}]
