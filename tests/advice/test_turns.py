"""A turn with an adviser: the rules' plan at once, advice beside it, the same questions, and nothing done unasked."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lqmf.advice import checking
from lqmf.advice.adviser import Adviser
from lqmf.app import App
from lqmf.cli.ask import Nobody
from lqmf.cli.render import Screen
from lqmf.errors import JobCancelled, NeedsInput, ProviderUnavailable
from lqmf.operations import plan, quantize
from lqmf.operations.asking import Recommended
from lqmf.operations.plan import Plans
from lqmf.providers.scripted import Scripted
from lqmf.records import Candidate, Decision, ModelInfo, Question, Request, to_json
from lqmf.understanding.answers import Reply
from lqmf.understanding.answers import answer as read
from tests.advice.places import notices, place
from tests.advice.script import answer, calls, line
from tests.advice.wishes import CARD, model, planner, request


class Watching:
    """A person who sees what is shown and answers with lines; objects to none left."""

    interactive = True

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.asked: list[Question] = []
        self.shown: list[Any] = []

    def show(self, record: Any) -> None:
        self.shown.append(record)

    async def __call__(self, question: Question) -> Reply:
        self.asked.append(question)
        return read(question, self.lines.pop(0))


def drawn(*shown: Any) -> str:
    """What people read, on a screen of a hundred columns."""
    from rich.console import Console

    from lqmf.cli.views.passing import view_of

    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        for one in shown:
            console.print(view_of(one))
    return captured.get()


def advised(root: Path, *told: Any, provider: Scripted | None = None) -> tuple[App, Scripted]:
    """A workspace whose provider answers by script."""
    app, asked = place(root), provider or Scripted([line(one) for one in told])

    async def look(id: str) -> ModelInfo:
        return model(app.models.resolve(id), parameters=1_500_000_000, license="apache-2.0")

    emit, history = app.bus.publish, app.history
    app.adviser = Adviser(calls(asked), wait_seconds=5.0, redact=app.redact, emit=emit, history=history, look=look)
    return app, asked


@cache
def pick() -> Candidate:
    """A candidate of another type than the rules would choose."""
    own, *others = checking.offered(planner().solution(request(CARD)), Request())
    assert own.type == "Q4_K_M"
    return next(one for one in others if one.type != own.type)


def chosen() -> dict[str, Any]:
    """The answer that picks it."""
    return answer(candidate=pick().id, notes=["It keeps names apart."])


def planned(app: App, ask: Any, **slots: Any) -> Plans:
    return asyncio.run(plan.run(app, Decision("plan", {"model": "ada/seven", **slots}).request, ask))


def test_the_rules_plan_is_shown_at_once_and_the_improvement_comes_beside_it(tmp_path):
    shown_before: list[int] = []
    ask = Watching()

    class Noting(Scripted):
        async def complete(self, *messages: Any, **limits: Any) -> Any:
            shown_before.append(len(ask.shown))
            return await super().complete(*messages, **limits)

    app, _ = advised(tmp_path, provider=Noting([line(chosen())]))
    outcome = planned(app, ask)
    assert shown_before == [1]
    before, after = drawn(*ask.shown), drawn(outcome)
    assert "Q4_K_M" in before
    assert "advice" not in before
    assert "Novels are long." in after
    assert "It keeps names apart." in after
    assert after.count("advice") >= 2
    own = next(c for c in outcome.document["plan"]["choices"] if c["name"] == "type")
    assert (own["value"], own["source"]) == (pick().type, "provider")


def test_the_document_of_a_plan_holds_the_advice_and_is_json(tmp_path):
    app, _ = advised(tmp_path, chosen())
    data = json.loads(json.dumps(planned(app, Watching()).document))
    assert data["advice"]["provider"] == "scripted"
    assert data["advice"]["slots"]["type"] == data["plan"]["type"] == pick().type
    assert data["plans"] == [data["plan"]]


def test_advice_that_agrees_is_said_in_a_line_and_the_plan_is_not_shown_twice(tmp_path):
    app, _ = advised(tmp_path, answer())
    view = drawn(planned(app, Watching()))
    assert "scripted would choose the same: Novels are long." in view
    assert "Q4_K_M" not in view


@pytest.mark.parametrize(
    "failure",
    [ProviderUnavailable("claude is overloaded (529)."), "nonsense", answer(candidate="gguf:Q9_Z:1:f16/f16:0:1")],
)
def test_whatever_fails_the_plan_is_that_of_the_rules_and_the_reason_is_told_once(failure, tmp_path):
    def same(outcome: Plans) -> Any:
        plan = {**outcome.document["plan"], "id": ""}
        return to_json(plan)

    alone = planned(place(tmp_path / "alone"), Watching())
    app, _ = advised(tmp_path / "helped", failure)
    heard = notices(app)
    helped = planned(app, Watching())
    assert same(helped) == same(alone)
    in_view = drawn(helped).count("left out")
    assert len(heard) + in_view == 1


def test_without_a_provider_a_plan_has_no_word_of_advice(tmp_path):
    ask = Watching()
    outcome = planned(place(tmp_path), ask)
    assert ask.shown == []
    assert "advice" not in outcome.document


def test_types_that_were_listed_are_a_choice_already(tmp_path):
    app, script = advised(tmp_path)
    assert len(planned(app, Watching(), type="Q4_K_M,Q8_0").document["plans"]) == 2
    assert script.asked == []


# ---------------------------------------------------------------- a job


def job(app: App, ask: Any, **slots: Any) -> list[Question]:
    """What a job asks before it starts; it is called off at the last question."""
    with pytest.raises(JobCancelled):
        asyncio.run(quantize.run(app, Decision("quantize", {"model": "ada/seven", **slots}).request, ask))
    return ask.asked


def test_a_job_asks_what_it_would_ask_anyway_with_the_advised_answer_recommended(tmp_path):
    plain = job(place(tmp_path / "alone"), Watching("1", "no"))
    app, _ = advised(tmp_path / "helped", chosen())
    ask = Watching("1", "no")
    helped = job(app, ask)
    assert [q.id for q in helped] == [q.id for q in plain] == ["type", "start"]
    assert (plain[0].default, helped[0].default) == ("Q4_K_M", pick().type)
    assert "Novels are long." in helped[0].reason
    assert drawn(*ask.shown).count("Plan for ada/seven") == 2


def test_a_correction_takes_the_advice_back(tmp_path):
    app, _ = advised(tmp_path, chosen())
    decision = app.understanding.decide(to_utterance("quantize ada/seven"))
    seen: list[Any] = []
    ask = Correcting("no, 8 bits", "yes")
    [made] = asyncio.run(app.planning.plan(decision.request, ask, seen.append))
    assert [one[0].plan.type for one in seen] == ["Q4_K_M", pick().type]
    assert made.plan.type == "Q8_0"
    assert {c.source for c in made.plan.choices} == {"user", "rules"}


class Correcting(Watching):
    """Whose line that answers nothing is a correction."""

    async def __call__(self, question: Question) -> Reply:
        said = self.lines[0]
        reply = await super().__call__(question)
        return Reply("other", said) if reply.kind == "other" else reply


def to_utterance(text: str) -> Any:
    from lqmf.records import Utterance

    return Utterance(text)


# ---------------------------------------------------------------- a model for a wish

NAMED = {"models": [{"id": "ada/french", "reason": "It speaks French."}, {"id": "ada/small", "reason": "It is small."}]}


def test_for_a_described_wish_the_sizes_come_at_once_and_named_models_beside_them(tmp_path):
    app, script = advised(tmp_path, NAMED)
    said = "something for my kid's old laptop that can help with French homework"
    decision = app.understanding.decide(to_utterance(said))
    assert (decision.intent, "model" in decision.slots) == ("plan", False)
    ask = Watching()
    outcome = asyncio.run(plan.run(app, decision.request, ask))
    assert len(ask.shown) == 1
    assert [one["id"] for one in outcome.document["suggestions"]] == ["ada/french", "ada/small"]
    assert outcome.document["suggestions"][0]["state"] == "verified"
    view = drawn(outcome)
    assert "ada/french: on the Hub, 1.5B parameters, apache-2.0. It speaks French." in " ".join(view.split())
    assert said in script.asked[0][1].content


@pytest.mark.parametrize(("line", "model_said"), [("1", "ada/french"), ("org/other", "org/other")])
def test_named_models_are_answers_to_choose_from_and_any_other_may_be_typed(line, model_said, tmp_path):
    app, _ = advised(tmp_path, NAMED, answer())
    ask = Watching(line, "1", "no")
    with pytest.raises(JobCancelled):
        asyncio.run(quantize.run(app, Decision("quantize", {}).request, ask))
    assert [q.id for q in ask.asked] == ["model", "type", "start"]
    assert f"Plan for {model_said}" in drawn(*ask.shown)


def test_no_named_model_is_taken_unasked_not_even_with_yes(tmp_path):
    app, _ = advised(tmp_path, NAMED)
    with pytest.raises(NeedsInput) as caught:
        asyncio.run(quantize.run(app, Decision("quantize", {}).request, Recommended(Nobody(Screen(json=True)))))
    [question] = caught.value.questions
    assert question.default is None
    assert [option.value for option in question.options] == ["ada/french", "ada/small"]


def test_the_question_is_the_plain_one_where_nobody_answers(tmp_path):
    def asked(app: App) -> Any:
        with pytest.raises(NeedsInput) as caught:
            asyncio.run(quantize.run(app, Decision("quantize", {}).request, Nobody(Screen(json=True))))
        return to_json(caught.value.questions)

    helped, _ = advised(tmp_path / "helped", ProviderUnavailable("Down."))
    assert asked(helped) == asked(place(tmp_path / "alone"))
