"""Takes advice: checks the plan that follows from it, and turns suggested models into answers to choose from. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lqmf.errors import DoesNotFit
from lqmf.records import Candidate, Option, Question, Suggestion

if TYPE_CHECKING:
    from lqmf.planning.planner import Planner
    from lqmf.planning.request import PlanRequest


def keep_to(taken: PlanRequest, planner: Planner) -> None:
    """Raise LqmfError where the advice that was taken leads to no plan, to none that fits, or to another than was
    advised."""
    planner.plan(taken, "")
    chosen = planner.solution(taken).recommended
    advised = taken.advice.slots if taken.advice else {}
    if chosen is None or any(_of(chosen).get(name, value) != value for name, value in advised.items()):
        raise DoesNotFit("what it names does not fit.")


def _of(chosen: Candidate) -> dict[str, Any]:
    return {"type": chosen.type, "context": chosen.run.context, "kv_type": chosen.run.cache}


def with_suggestions(question: Question, found: Sequence[Suggestion]) -> Question:
    """Return the question with models to choose from. None is recommended: the user decides what is downloaded."""
    options = tuple(Option(one.id, f"{one.id}: {describe_suggestion(one)}") for one in found)
    reason = f"{question.reason} The names are a helper's; nothing is taken unasked." if found else question.reason
    return dataclasses.replace(question, options=options, reason=reason)


def describe_suggestion(one: Suggestion) -> str:
    """Describe a suggested model and the reason for it, in one line."""
    states = {
        "verified": "on the Hub",
        "gated": "on the Hub, behind a licence to accept",
        "unverified": "not verified, the Hub could not be asked",
    }
    size = f", {one.parameters / 1e9:.1f}B parameters" if one.parameters else ""
    license = f", {one.license}" if one.license else ""
    return f"{states[one.state]}{size}{license}. {one.reason}".strip()
