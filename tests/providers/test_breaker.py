"""A breaker opens after repeated failure, rests, lets one through, and learns from it."""

import time

from lqmf.errors import ProviderUnavailable
from lqmf.providers.breaker import Breaker

DOWN, UP, REFUSED = "provider_unavailable", "ok", "key_refused"


def breaker(*outcomes: str, rest_s: float = 0.2) -> Breaker:
    made = Breaker("claude", failures=3, rest_s=rest_s)
    for outcome in outcomes:
        made.report(outcome)
    return made


def is_left_alone(one: Breaker) -> bool:
    try:
        one.check()
    except ProviderUnavailable:
        return True
    return False


def test_failures_in_a_row_open_it_and_an_answer_between_them_does_not():
    assert not is_left_alone(breaker(DOWN, DOWN))
    assert is_left_alone(breaker(DOWN, "provider_busy", DOWN))
    assert not is_left_alone(breaker(DOWN, DOWN, UP, DOWN, DOWN))
    assert not is_left_alone(breaker(DOWN, DOWN, "bad_answer", DOWN, DOWN))


def test_a_key_a_cancel_and_a_budget_say_nothing_of_the_far_end():
    for outcome in (REFUSED, "cancelled", "budget_spent", "failed", "bad_request"):
        assert not is_left_alone(breaker(*[outcome] * 9))
        assert breaker(DOWN, DOWN, outcome).health.failures == 2


def test_after_its_rest_one_call_decides():
    for outcome, state in ((UP, "closed"), (DOWN, "open"), ("cancelled", "half-open")):
        one = breaker(DOWN, DOWN, DOWN)
        assert one.health.state == "open"
        assert 0 < one.health.rest_s <= 0.2
        time.sleep(0.25)
        assert one.health.state == "half-open"
        assert not is_left_alone(one)
        one.report(outcome)
        assert one.health.state == state


def test_it_remembers_what_other_processes_recorded():
    def row(outcome: str, age_s: float) -> dict:
        return {"outcome": outcome, "at": time.time() - age_s, "seconds": 1.0}

    lately = [row(DOWN, 2), row(DOWN, 3), row(DOWN, 4)]
    assert is_left_alone(Breaker("claude", lately, failures=3, rest_s=60))
    assert not is_left_alone(Breaker("claude", lately[:2], failures=3, rest_s=60))
    assert not is_left_alone(Breaker("claude", [row(UP, 1), *lately], failures=3, rest_s=60))
    old = Breaker("claude", [row(DOWN, 100), row(DOWN, 101), row(DOWN, 102)], failures=3, rest_s=60)
    assert old.health.state == "half-open"
    old.report(UP)
    assert old.health.state == "closed"
