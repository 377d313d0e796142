"""An answer stands only where it chooses from the list, within bounds, and leaves what the user said alone."""

import pytest

from lqmf.advice import checking
from lqmf.advice.answers import NamedModel, NamedModels, Recommendation, recommendation
from lqmf.records import Advice, Request
from tests.advice.wishes import CARD, LAPTOP, SHAPE, planner, request

NOBODY = Advice("claude", "a model")


def answer(**told) -> Recommendation:
    return Recommendation.model_validate(
        {"candidate": None, "context": None, "priority": None, "reason": "Because.", "notes": [], **told}
    )


def checked(told: Recommendation, hardware=LAPTOP, **slots) -> Advice:
    solution = planner().solution(request(hardware, **slots))
    choices = checking.offered(solution, Request.of(slots))
    return checking.checked(told, NOBODY, choices, choices[0], Request.of(slots), SHAPE.trained)


def ids(hardware=LAPTOP, **slots) -> list[str]:
    return [one.id for one in checking.offered(planner().solution(request(hardware, **slots)), Request.of(slots))]


def test_what_is_offered_begins_with_the_planners_own_and_fits_and_is_no_endless_list():
    solution = planner().solution(request(CARD))
    choices = checking.offered(solution, Request())
    assert choices[0] == solution.recommended
    assert 3 <= len(choices) <= checking.MOST_OFFERED
    assert len({one.id for one in choices}) == len(choices)
    assert {one.run.context for one in choices} > {choices[0].run.context}
    assert set(choices) <= {*solution.best, *solution.pareto}


@pytest.mark.parametrize(
    ("priority", "figure"),
    [
        ("quality", lambda one: one.loss.kl_nats),
        ("size", lambda one: one.file_bytes),
        ("speed", lambda one: one.read_bytes),
    ],
)
def test_where_the_user_said_what_matters_nothing_worse_by_it_is_offered(priority, figure):
    choices = checking.offered(planner().solution(request(CARD, priority=priority)), Request(priority=priority))
    assert all(figure(one) <= figure(choices[0]) for one in choices)


def test_the_schema_that_goes_out_lists_the_ids_and_nothing_else_can_be_decoded():
    choices = checking.offered(planner().solution(request()), Request())
    schema = recommendation(choices).model_json_schema()
    assert schema["properties"]["candidate"]["anyOf"][0]["enum"] == [one.id for one in choices]
    assert set(schema["required"]) == set(Recommendation.model_fields)
    assert schema["additionalProperties"] is False


def test_another_candidate_fills_what_the_user_left_open():
    other = next(id for id in ids() if not id.startswith(ids()[0].rsplit(":", 4)[0]))
    advice = checked(answer(candidate=other))
    assert advice.slots == dict(zip(("type", "context", "kv_type"), parts(other), strict=True))
    assert (advice.reason, advice.dropped) == ("Because.", ())
    context = int(ids(context=4096)[1].split(":")[2])
    assert context == 4096
    assert "context" not in checked(answer(candidate=ids(context=4096)[1]), context=4096).slots


def parts(id: str) -> tuple[str, int, str]:
    _, kind, context, cache, _, _ = id.split(":")
    keys, values = cache.split("/")
    return kind, int(context), keys if keys == values else cache


def test_the_planners_own_choice_changes_nothing_and_keeps_its_reason():
    advice = checked(answer(candidate=ids()[0], reason="It fits well."))
    assert (advice.slots, advice.reason) == ({}, "It fits well.")


def test_a_wish_stands_in_place_of_a_choice():
    assert checked(answer(context=16384, priority="quality")).slots == {"context": 16384, "priority": "quality"}
    assert checked(answer(priority="speed"), type="Q4_K_M").slots == {}
    assert checked(answer(priority="speed"), target_size_gb=5.0).slots == {}


NOT_OFFERED = ["gguf:Q9_Z:8192:f16/f16:0:512", "Q5_K_M", "", "rm -rf /", "gptq::4096:f16/f16:0:512"]


@pytest.mark.parametrize(
    ("told", "slots", "says"),
    [
        *(({"candidate": name}, {}, "was not offered") for name in NOT_OFFERED),
        ({"context": 1024}, {"context": 4096}, "you said context 4096"),
        ({"priority": "size"}, {"priority": "quality"}, "you said priority quality"),
        ({"reason": "fine \x1b[2J\x1b]0;owned\x07"}, {}, "control characters"),
        ({"notes": ["a \x9b31m b"]}, {}, "control characters"),
        ({"reason": "\u202egnp.exe"}, {}, "control characters"),
    ],
)
def test_an_answer_that_contradicts_invents_or_steers_the_terminal_counts_for_nothing(told, slots, says):
    with_more = {"candidate": None, "priority": "speed", **told} if "candidate" not in told else told
    with_more = {**with_more, **({"priority": None} if slots.get("priority") and "priority" not in told else {})}
    advice = checked(answer(**with_more), **slots)
    assert (advice.slots, advice.reason, advice.notes) == ({}, "", ())
    assert says in advice.dropped[0]
    assert len(advice.dropped) == 1


@pytest.mark.parametrize("told", [{"context": 1}, {"context": 10**400}, {"context": -5}, {"priority": "everything"}])
def test_what_is_out_of_bounds_is_dropped_by_itself_and_said(told):
    advice = checked(answer(**{"context": 16384, "priority": "quality", **told}))
    (name,) = told
    assert advice.slots == {k: v for k, v in {"context": 16384, "priority": "quality"}.items() if k != name}
    assert name in advice.dropped[0]
    assert advice.reason


def test_what_is_said_is_one_short_line():
    advice = checked(answer(reason="long \n\n\t word " * 500, notes=["a  b"] * 9))
    assert len(advice.reason) == checking.REASON_LENGTH
    assert "\n" not in advice.reason
    assert advice.notes == ("a b", "a b")


def test_of_named_models_only_ids_of_originals_are_kept():
    originals = ["ada/one", "ada/one", "bert/bits", "ada/last", "ada/left"]
    copies = ["ada/two-GGUF", "ada/two-4bit", "TheBloke/x-GPTQ"]
    no_ids = ["../etc/passwd", "/etc/passwd", "gpt2", "a/b/c", "ada/x\x1b[2J", "https://huggingface.co/ada/y"]
    names = [*copies, *no_ids, *originals]
    told = NamedModels(models=[NamedModel(id=name, reason="Good.") for name in names])
    assert checking.named_models(told) == [("ada/one", "Good."), ("bert/bits", "Good."), ("ada/last", "Good.")]
