"""The planner with advice: the same questions as without, other recommendations, and for each choice whose it was."""

import dataclasses

from lqmf.planning.request import PlanRequest
from lqmf.planning.taking import keep_to
from lqmf.records import Advice
from tests.advice.wishes import planner, request

ADVICE = Advice("claude", "m", {"type": "Q5_K_M", "context": 16384, "kv_type": "q8_0"}, "Long texts need room.")


def advised(advice: Advice = ADVICE, **slots) -> PlanRequest:
    asked = dataclasses.replace(request(**slots), advice=advice)
    keep_to(asked, planner())
    return asked


def choices(asked: PlanRequest) -> dict[str, tuple[object, str]]:
    return {c.name: (c.value, c.source) for c in planner().plan(asked, "p").choices}


def test_what_was_advised_is_planned_and_said_to_be_the_helpers():
    plan = planner().plan(advised(), "p")
    assert (plan.type, plan.context, plan.run.cache) == ("Q5_K_M", 16384, "q8_0")
    told = {c.name: c for c in plan.choices}
    assert [told[name].source for name in ("type", "context", "kv_cache")] == ["provider"] * 3
    assert told["type"].reason == "Long texts need room."
    assert told["model"].source == "user"
    assert told["memory"].source == "rules"
    assert plan.candidates[0].type == "Q5_K_M"
    assert planner().plan(request(), "p").type in {c.type for c in plan.candidates[1:]}, "the rules' own stays in sight"


def test_the_rules_reasons_stay_theirs_where_a_priority_alone_was_advised():
    plan = planner().plan(advised(Advice("claude", "m", {"priority": "quality"}, "Homework needs care.")), "p")
    assert (plan.priority, plan.type) == ("quality", "Q8_0")
    told = {c.name: (c.value, c.source) for c in plan.choices}
    assert told["priority"] == ("quality", "provider")
    assert told["type"][1] == "rules"


def test_what_the_user_said_is_not_advised_on():
    told = choices(advised(dataclasses.replace(ADVICE, slots={"context": 16384, "type": "Q5_K_M"}), type="Q5_K_M"))
    assert told["type"] == ("Q5_K_M", "user")
    assert told["context"] == (16384, "provider")
    told = choices(dataclasses.replace(request(type="Q4_K_M", context=2048), advice=ADVICE))
    assert (told["type"], told["context"]) == (("Q4_K_M", "user"), (2048, "user"))
    assert told["kv_cache"][1] == "rules", "advice for another type counts for nothing"


def test_the_type_is_asked_all_the_same_with_the_advised_one_recommended_and_why():
    plain, question = planner().next_question(request()), planner().next_question(advised())
    assert (question.id, question.text) == (plain.id, plain.text)
    assert {o.value for o in question.options} == {o.value for o in plain.options}
    assert (plain.default, question.default) == ("Q4_K_M", "Q5_K_M")
    assert question.options[0].value == "Q5_K_M"
    assert question.reason == "claude: Long texts need room."


def test_the_recommendation_taken_is_the_helpers_and_any_other_answer_the_users():
    def answered(value: str, *, taken: bool) -> PlanRequest:
        start = advised()
        marked = frozenset({"type"}) if taken else frozenset()
        said = dataclasses.replace(start.said, type=value)
        return dataclasses.replace(start, said=said, asked=frozenset({"type"}), advised=marked)

    told = choices(answered("Q5_K_M", taken=True))
    assert (told["type"], told["context"]) == (("Q5_K_M", "provider"), (16384, "provider"))
    told = choices(answered("Q6_K", taken=False))
    assert told["type"] == ("Q6_K", "user")
    assert (told["context"][1], told["kv_cache"][1]) == ("rules", "rules")
    plan = planner().plan(answered("Q5_K_M", taken=True), "p")
    assert len({c.type for c in plan.candidates}) > 1


def test_advice_that_changes_nothing_leaves_the_plan_as_it_was():
    agreed = dataclasses.replace(request(), advice=Advice("claude", "m", {}, "Just right."))
    assert planner().plan(agreed, "p") == planner().plan(request(), "p")
    assert planner().next_question(agreed) == planner().next_question(request())


def test_a_mix_keeps_its_type_and_takes_the_context():
    asked = request(type="auto", target_size_gb=4.2)
    mixed = dataclasses.replace(asked, advice=Advice("claude", "m", {"context": 16384}, "Long texts."))
    told = choices(mixed)
    assert told["type"] == ("auto", "user")
    assert told["context"] == (16384, "provider")
