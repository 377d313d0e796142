"""What is said when a job is done: against what was asked and predicted, and one step that fits, or none."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqmf.fit.quality import WEIGHTS, expected_loss
from lqmf.quality.compare.verdict import NEGLIGIBLE, Case, Verdict, nats, verdict
from lqmf.records import Artifact, Candidate, Choice, Footprint, Loss, ModelRef, QuantizationPlan, Run
from lqmf.units import GIB

SIZES = {"Q2_K": 2.6, "Q3_K_M": 3.5, "Q4_K_M": 4.4, "Q5_K_M": 5.1, "Q6_K": 5.9, "Q8_0": 7.7}
PASSED = [{"name": "loads", "passed": True, "detail": ""}, {"name": "stops", "passed": True, "detail": ""}]


def way(type: str, *, gpu: bool = False) -> Candidate:
    weights = int(SIZES[type] * 1e9)
    memory = Footprint(0 if gpu else weights, 0, 0, 0, weights if gpu else 0, 0, 0, 0)
    return Candidate("gguf", type, int(type.strip("IQ")[0]), Run(8192), weights, memory, Loss(0.0, ""), weights)


def plan(type: str = "Q4_K_M", **changes: Any) -> QuantizationPlan:
    others = tuple(way(name) for name in SIZES if name != type)
    made = QuantizationPlan(
        "p", ModelRef("hub", "org/model"), None, "gguf", way(type).bits, type, "gguf", "cpu",
        context=8192, imatrix=True, run=Run(8192), candidates=(way(type),), others=others,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def predicted(**errors: float) -> dict[str, Any]:
    return {
        name: {"predicted": 0.031, "measured": 0.031 * (1 + error), "error": error, "missed": abs(error) > 0.1}
        for name, error in errors.items()
    }


def judged(
    kl: float | None = 0.03, *, of: QuantizationPlan | None = None, made: dict[str, str] | None = None, **receipt: Any
) -> Verdict:
    told = {
        "checks": PASSED,
        "bits_per_weight": 4.83,
        "kl_divergence": {"mean": kl} if kl is not None else None,
        "top1_agreement": 0.96,
        "prediction": predicted(kl_nats=0.0),
        **receipt,
    }
    made_plan = of or plan()
    size = int(SIZES[made_plan.type] * 1e9)
    artifact = Artifact("m", "/m", "gguf", made_plan.bits, made_plan.type, size, None, None, "org/model", receipt=told)
    measured = {made_plan.type: kl} if kl else {}
    return verdict(Case(artifact, made_plan, lambda name: expected_loss(name, measured=measured), made or {}))


def step(*arguments: Any, **receipt: Any) -> str | None:
    found = judged(*arguments, **receipt).step
    return found.text if found else None


# ---------------------------------------------------------------- what came out


def test_the_sentences_say_size_loss_and_agreement_against_the_prediction() -> None:
    assert judged(0.031).sentences == (
        "m has 4.4 GB, 4.83 bits a weight.",
        "It loses 0.031 nats a token (KL divergence), as predicted, and 96.0 % of its first choices are the source's.",
    )
    assert (
        ", more than the 0.031 predicted for Q4_K_M," in judged(0.062, prediction=predicted(kl_nats=1.0)).sentences[1]
    )
    assert (
        ", less than the 0.031 predicted for Q4_K_M," in judged(0.01, prediction=predicted(kl_nats=-0.6)).sentences[1]
    )


def test_the_memory_is_held_against_what_was_given_and_left_out_where_nothing_was() -> None:
    given = judged(of=plan(memory_bytes=8 * GIB)).sentences[0]
    assert given.endswith("and needs 4.1 GB with 8,192 tokens of context, within the 8.0 GB that you gave it.")
    assert "needs" not in judged().sentences[0]
    small = judged(of=plan(memory_bytes=4 * GIB)).sentences[0]
    assert small.endswith("more than the 4.0 GB that you gave it.")


def test_what_failed_is_said_and_a_missed_size_or_memory() -> None:
    failed = [*PASSED, {"name": "no_loops", "passed": False, "detail": "it repeats"}]
    assert judged(checks=failed).sentences[2] == "It fails this check: no loops."
    gate = {"passed": False, "reasons": ["KL is 0.3, at most 0.12 was set."], "limits": {"kl_mean": 0.12}}
    assert judged(0.3, gate=gate).sentences[2] == "It does not pass the gate: KL is 0.3, at most 0.12 was set."
    told = predicted(kl_nats=0.0, peak_rss_bytes=0.25, quantize_seconds=4.0)
    assert judged(prediction=told).sentences[2] == "The memory that it takes is 25 % above the prediction."
    assert "2.5 times the prediction" in judged(prediction=predicted(peak_rss_bytes=1.5)).sentences[2]


def test_what_could_not_be_measured_is_said_with_its_reason_and_nothing_is_proposed() -> None:
    told = judged(None, reasons={"kl_divergence": "its source is not here"})
    assert told.sentences[1] == "What was lost is not known: its source is not here."
    assert told.step is None
    assert judged(checks=[]) == Verdict(("m has 4.4 GB, 4.83 bits a weight. How good it is was not measured.",))
    broken = judged(checks=[{"name": "loads", "passed": False, "detail": "it ran out of memory."}])
    assert broken.sentences == ("m has 4.4 GB, 4.83 bits a weight, but it does not run: it ran out of memory.",)
    assert broken.step is None


def test_a_model_that_writes_no_text_is_told_of_by_its_embeddings_or_its_known_answers() -> None:
    cosine = {"embedding_cosine": {"mean": 0.999, "min": 0.98, "between_texts": 0.2}}
    told = judged(None, similarity=cosine)
    assert told.sentences[1] == "Its embeddings have a cosine of 0.99900 with the source's, and at least 0.98000."
    assert told.step is None
    answers = judged(None, sequence_loss={"artifact": 1.212, "source": 1.2, "change": 0.012, "standard_error": 0.001})
    assert answers.sentences[1] == "On known answers it loses 0.012 nats a token more than the source."
    for change in (0.0, -1e-9):
        same = judged(None, sequence_loss={"artifact": 1.2, "source": 1.2, "change": change, "standard_error": 0.001})
        assert same.sentences[1] == "On known answers it loses as much as the source."


# ---------------------------------------------------------------- what next


def test_the_smallest_larger_type_that_is_worth_it_is_proposed_with_gain_and_price() -> None:
    found = judged(0.031).step
    assert found is not None
    assert found.text == "Q5_K_M would cut the loss to a third (0.011 nats a token expected) for 700 MB more"
    assert found.slots == {"type": "Q5_K_M", "bits": None}


def test_what_there_is_already_is_not_proposed_again() -> None:
    assert (step(0.031, made={"Q5_K_M": "other"}) or "").startswith("Q6_K would leave 17 % of the loss")


def test_who_loses_next_to_nothing_is_left_in_peace() -> None:
    assert step(NEGLIGIBLE / 2) is None
    assert step(0.004, of=plan("Q8_0")) is None  # nothing larger


def test_nothing_that_does_not_fit_is_proposed() -> None:
    assert step(0.031, of=plan(others=(way("Q3_K_M"), way("Q2_K")))) is None


def test_a_failed_gate_asks_for_a_matrix_first_then_for_more_bits() -> None:
    gate = {"passed": False, "reasons": ["too much"], "limits": {"kl_mean": 0.02}}
    found = judged(0.05, of=plan(imatrix=False), gate=gate).step
    assert found is not None
    assert found.slots == {"type": "Q4_K_M", "imatrix": True}
    assert (step(0.05, gate=gate) or "").startswith("Q5_K_M would cut the loss to a third")
    impossible = {"passed": False, "reasons": ["too much"], "limits": {"kl_mean": 1e-6}}
    assert step(0.05, gate=impossible) is None


def test_more_loss_than_predicted_without_a_matrix_asks_for_one_unless_it_was_refused() -> None:
    told = predicted(kl_nats=0.8)
    plain = plan(imatrix=False)
    assert (step(0.06, of=plain, prediction=told) or "").startswith("An importance matrix lowers the loss of Q4_K_M")
    refused = plan(imatrix=False, choices=(Choice("imatrix", False, "as you said", "user"),))
    assert (step(0.06, of=refused, prediction=told) or "").startswith("Q5_K_M")


def test_what_takes_more_than_was_given_asks_for_the_best_type_that_would_not() -> None:
    told = predicted(kl_nats=0.0, peak_rss_bytes=0.3)
    found = judged(of=plan(memory_bytes=5 * GIB), prediction=told).step
    assert found is not None
    assert found.slots["type"] == "Q3_K_M"
    assert "would need 4.2 GB" in found.text


def test_who_wants_little_is_offered_less_only_where_the_loss_stays_little() -> None:
    assert (step(0.001, of=plan("Q8_0", priority="size")) or "").startswith("Q4_K_M would be 3.3 GB smaller")
    assert step(0.031, of=plan("Q4_K_M", priority="size")) is None


def test_a_type_that_was_measured_here_is_proposed_by_its_measurement() -> None:
    artifact = Artifact(
        "m", "/m", "gguf", 4, "Q4_K_M", 4_400_000_000, None, None,
        receipt={"checks": PASSED, "kl_divergence": {"mean": 0.0022}},
    )  # fmt: skip
    measured = {"Q4_K_M": 0.0022, "Q5_K_M": 0.001}
    found = verdict(Case(artifact, plan(), lambda name: expected_loss(name, measured=measured))).step
    assert found is not None
    assert found.text == "Q5_K_M would halve the loss (0.001 nats a token as measured here) for 700 MB more"


@given(
    kl=st.floats(1e-6, 5.0),
    type=st.sampled_from(list(SIZES)),
    gib=st.none() | st.integers(1, 12),
    passed=st.none() | st.booleans(),
    priority=st.sampled_from([None, "quality", "size", "speed"]),
    error=st.floats(-0.9, 3.0),
)
@settings(max_examples=300)
def test_whatever_came_out_at_most_three_sentences_and_a_step_that_was_among_those_that_fit(
    kl: float, type: str, gib: int | None, passed: bool | None, priority: str | None, error: float
) -> None:
    memory = gib * GIB if gib else None
    fitting = tuple(way(name) for name in SIZES if name != type and (memory is None or SIZES[name] * 1e9 <= memory))
    of = plan(type, memory_bytes=memory, priority=priority, others=fitting)
    gate = {"passed": passed, "reasons": [], "limits": {"kl_mean": WEIGHTS["Q4_K_M"]}}
    told = judged(kl, of=of, gate=gate, prediction=predicted(kl_nats=error, peak_rss_bytes=error))
    assert 1 <= len(told.sentences) <= 3
    assert all(sentence.endswith(".") for sentence in told.sentences)
    if told.step and told.step.slots["type"] != type:
        assert told.step.slots["type"] in {one.type for one in fitting}


@pytest.mark.parametrize(("value", "shown"), [(0.002213, "0.0022"), (0.44, "0.44"), (2.25, "2.2"), (0.0, "0")])
def test_a_loss_is_shown_with_two_digits(value: float, shown: str) -> None:
    assert nats(value) == shown
