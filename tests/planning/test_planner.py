"""The planner asks only for what is missing and matters, keeps what was said, and gives a reason for every choice."""

import dataclasses
import re

import pytest

from lqmf.errors import DoesNotFit, UsageError
from lqmf.model_files.gguf_types import TYPES
from lqmf.planning.planner import GIB, Planner, artifact_name
from lqmf.planning.request import PlanRequest
from lqmf.quantization.registry import backends
from lqmf.records import Gpu, Hardware, ModelInfo, ModelRef, RemoteFile, Request
from tests.fit.shapes import Model, fitting

LAPTOP = Hardware("cpu", 4, 16 * GIB, 12 * GIB)
CARD = Hardware("cpu", 4, 16 * GIB, 12 * GIB, (Gpu("RTX 3070", 8 * GIB, 7 * GIB),))
SEVEN_B = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}


def model(parameters: int = 6_738_415_616) -> ModelInfo:
    """A Llama of 7B parameters, as its metadata would say."""
    return ModelInfo(
        ref=ModelRef("hub", "meta-llama/Llama-2-7b-hf"),
        commit="c" * 40,
        architecture="LlamaForCausalLM",
        model_type="llama",
        config=SEVEN_B,
        files=(RemoteFile("model.safetensors", 2 * parameters),),
        weights_bytes=2 * parameters,
        parameters=parameters,
        dtype="F16",
        context_length=4096,
        vocabulary=32000,
    )


SHAPE = Model(32, 4096, 32, 32, 128, 11008, 32000, 4096)
LARGE = Model(64, 5120, 40, 8, 128, 27648, 152064, 32768)


def planner(**settings) -> Planner:
    return Planner(backends(), gpu_memory_limit_gb=8, **settings)


def request(hardware: Hardware = LAPTOP, asked: frozenset[str] = frozenset(), **slots) -> PlanRequest:
    fit = fitting(SHAPE, parallel=slots.get("parallel", 1))
    return PlanRequest(Request.of(slots), model(), hardware, fit, asked)


def questions(start: PlanRequest, agent: Planner | None = None) -> list[str]:
    """Ids of everything asked when each answer is the recommended one."""
    agent, ids = agent or planner(), []
    while question := agent.next_question(start):
        ids.append(question.id)
        change = question.default if isinstance(question.default, dict) else {question.id: question.default}
        start = dataclasses.replace(
            start, said=dataclasses.replace(start.said, **change), asked=start.asked | {question.id}
        )
    return ids


def test_a_complete_wish_is_asked_nothing():
    assert planner().next_question(request(type="Q4_K_M", device="cpu", start=True)) is None


def test_bits_alone_leave_the_type_open_and_the_usual_one_is_recommended():
    question = planner().next_question(request(bits=4))
    assert (question.id, question.default) == ("type", "Q4_K_M")
    assert all("GB" in option.label for option in question.options)
    assert question.reason
    assert {backends()["gguf"].types[o.value].bits for o in question.options} == {4}


def test_nothing_said_offers_the_usual_ladder():
    question = planner().next_question(request())
    assert question.default == "Q4_K_M"
    assert {o.value for o in question.options} >= {"Q4_K_M", "Q5_K_M", "Q8_0"}


def test_too_little_memory_recommends_a_smaller_type_and_says_so():
    plan = planner().plan(request(memory_gb=4.5), "p")
    assert TYPES[plan.type].bits_per_weight < TYPES["Q4_K_M"].bits_per_weight
    assert "4.5 GB" in next(c.reason for c in plan.choices if c.name == "memory")


@pytest.mark.parametrize(("wish", "expected"), [("quality", "Q8_0"), ("size", "IQ3_S"), (None, "Q4_K_M")])
def test_a_priority_moves_the_recommendation(wish, expected):
    slots = {"memory_gb": 16, **({"priority": wish} if wish else {})}
    assert planner().plan(request(**slots), "p").type == expected


def test_a_target_size_takes_the_largest_type_within_it():
    plan = planner().plan(request(target_size_gb=5.0), "p")
    assert 4.0e9 < plan.estimate.size_bytes <= 5.0e9
    with pytest.raises(UsageError, match="smallest"):
        planner().plan(request(target_size_gb=0.5), "p")


def test_a_contradiction_is_named_and_asked_about_and_either_answer_settles_it():
    start = request(bits=8, type="Q4_K_M")
    question = planner().next_question(start)
    assert "8-bit" in question.text
    assert "Q4_K_M" in question.text
    for option in question.options:
        again = dataclasses.replace(
            start, said=dataclasses.replace(start.said, **option.value), asked=frozenset({"bits"})
        )
        plan = planner().plan(again, "p")
        assert (plan.type, plan.bits) == (option.value["type"], option.value["bits"])


def test_a_recommendation_that_was_taken_is_advice_and_another_answer_is_the_users():
    taken = dataclasses.replace(request(bits=4, type="Q4_K_M"), asked=frozenset({"type"}), advised=frozenset({"type"}))
    chosen = dataclasses.replace(request(bits=4, type="Q4_0"), asked=frozenset({"type"}))
    sources = [next(c for c in planner().plan(r, "p").choices if c.name == "type") for r in (taken, chosen)]
    assert [(c.source, c.reason == "your answer") for c in sources] == [("rules", False), ("user", True)]


def test_everything_said_is_kept_and_every_choice_has_a_reason():
    said = {"type": "Q5_K_M", "device": "cpu", "context": 2048, "memory_gb": 6.0, "calibration": "./c.txt"}
    plan = planner().plan(request(**said), "p")
    assert (plan.type, plan.bits, plan.device, plan.context) == ("Q5_K_M", 5, "cpu", 2048)
    assert (plan.memory_bytes, plan.calibration) == (6 * GIB, "./c.txt")
    assert all(choice.reason for choice in plan.choices)
    assert {c.name for c in plan.choices if c.source == "user"} >= {"type", "device", "context"}


def test_a_gpu_that_is_not_there_is_asked_about_once_unless_settled():
    slots = {"type": "Q4_K_M", "device": "gpu", "start": True}
    assert planner().next_question(request(**slots)).id == "cpu_fallback"
    assert planner().next_question(request(**slots, cpu_fallback=True)) is None
    assert planner(cpu_fallback=True).next_question(request(**slots)) is None
    assert planner().next_question(request(CARD, **slots)) is None


def test_a_large_download_is_asked_about_before_it_starts():
    far = dataclasses.replace(request(bits=4), download_bytes=13_500_000_000)
    assert questions(far) == ["type", "start"]
    assert questions(request(bits=4)) == ["type"]
    near, plan = planner().plan(request(bits=4), "p"), planner().plan(far, "p")
    assert plan.estimate.disk_peak_bytes - near.estimate.disk_peak_bytes == 13_500_000_000


def test_no_question_is_asked_twice():
    ids = questions(request(bits=8, type="Q4_K_M", device="gpu"))
    assert len(ids) == len(set(ids))


def test_bits_that_no_type_has_name_those_there_are():
    with pytest.raises(UsageError) as caught:
        planner().next_question(request(bits=7))
    assert "8" in caught.value.message + caught.value.remedy


def test_after_a_full_gpu_the_same_plan_runs_on_the_cpu():
    plan = planner().plan(request(CARD, type="Q4_K_M"), "p")
    again = planner().on_cpu(plan, "the GPU was full")
    assert (plan.device, again.device, again.type) == ("gpu", "cpu", plan.type)
    assert [c.reason for c in again.choices if c.name == "device"] == ["the GPU was full"]


def test_what_was_said_of_running_is_kept_and_reasoned():
    plan = planner().plan(request(CARD, kv_type="q8_0/q4_0", parallel=2, context=2048, ram_gb=4), "p")
    run = plan.run
    assert (run.k_type, run.v_type, run.parallel, run.context) == ("q8_0", "q4_0", 2, 2048)
    chosen = {c.name: c for c in plan.choices}
    assert (chosen["kv_cache"].value, chosen["parallel"].value) == ("q8_0/q4_0", 2)
    assert chosen["gpu_layers"].reason
    assert plan.candidates[0].run == run


def test_a_card_that_is_not_here_is_planned_for_all_the_same():
    plan = planner().plan(request(memory_gb=8, device="gpu", context=4096), "p")
    assert (plan.device, plan.type) == ("cpu", "Q4_K_M")
    assert plan.run.gpu_layers == SHAPE.layers + 1
    assert plan.candidates[0].memory.gpu <= 8 * GIB - (512 << 20)
    assert planner().plan(request(ram_gb=32, memory_gb=8), "p").run.gpu_layers


def test_a_wish_that_does_not_fit_offers_what_does_and_each_of_it_settles_the_question():
    start = request(type="Q8_0", memory_gb=6)
    question = planner().next_question(start)
    assert question.id == "fit"
    assert "6.0 GB" in question.text
    assert question.default == question.options[0].value
    for option in question.options:
        again = dataclasses.replace(
            start, said=dataclasses.replace(start.said, **option.value), asked=frozenset({"fit"})
        )
        assert planner().next_question(again) is None
    assert [o.value for o in question.options][-1] == {"fit": "anyway"}


def test_one_thing_let_go_is_offered_for_each_thing_that_was_said():
    question = planner().next_question(request(type="Q4_K_M", kv_type="f16", context=4096, memory_gb=5.6))
    changed = [tuple(option.value) for option in question.options]
    assert changed == [("type", "bits", "fit"), ("kv_type", "fit"), ("context", "fit"), ("fit",)]
    assert [option.value["fit"] for option in question.options] == ["type", "kv_type", "context", "anyway"]


@pytest.mark.parametrize(("advised", "whose"), [(frozenset({"fit"}), "rules"), (frozenset(), "user")])
def test_what_was_let_go_since_it_does_not_fit_is_not_called_what_the_user_said(advised, whose):
    start = request(type="Q4_K_M", kv_type="f16", context=4096, memory_gb=5.6)
    for option, name in zip(planner().next_question(start).options[:3], ("type", "kv_cache", "context"), strict=True):
        said = dataclasses.replace(start.said, **option.value)
        answered = dataclasses.replace(start, said=said, asked=frozenset({"fit"}), advised=advised)
        choice = next(c for c in planner().plan(answered, "p").choices if c.name == name)
        assert (choice.reason, choice.source) == ("what you said does not fit", whose)


def test_a_type_that_llama_cpp_would_not_make_is_not_offered():
    start = request()
    needs = start.fit.needs["gguf"]
    weights = {name: each for name, each in needs.weights.items() if name != "Q5_K_M"}
    fit = dataclasses.replace(start.fit, needs={"gguf": dataclasses.replace(needs, weights=weights)})
    options = planner().next_question(dataclasses.replace(start, fit=fit)).options
    assert "Q5_K_M" in {o.value for o in planner().next_question(start).options}
    assert "Q5_K_M" not in {o.value for o in options}


@pytest.mark.parametrize("wished", ["q4_0", "q8_0/q4_0"])
def test_a_cache_that_the_model_cannot_have_is_refused_by_its_name(wished):
    """Its heads do not fit the blocks."""
    start = request(kv_type=wished)
    needs = start.fit.needs["gguf"]
    samples = tuple(sample for sample in needs.samples if sample.cache_type != "q4_0")
    fit = dataclasses.replace(start.fit, needs={"gguf": dataclasses.replace(needs, samples=samples)})
    with pytest.raises(UsageError, match=wished):
        planner().plan(dataclasses.replace(start, fit=fit), "p")


def test_a_type_that_does_not_fit_is_marked_so_among_the_options():
    labels = {o.value: o.label for o in planner().next_question(request(memory_gb=6)).options}
    assert "does not fit" in labels["Q8_0"]
    assert "does not fit" not in labels["Q4_K_M"]


def test_where_nothing_would_fit_it_is_refused_with_what_can_be_done_instead():
    large = dataclasses.replace(request(memory_gb=6, device="cpu"), fit=fitting(LARGE))
    with pytest.raises(DoesNotFit, match=r"6\.0 GB") as caught:
        planner().next_question(large)
    assert "more memory" in caught.value.remedy
    plan = planner().plan(dataclasses.replace(large, asked=frozenset({"fit"})), "p")  # a plan still says what it needs
    assert "6.0 GB" in next(c.reason for c in plan.choices if c.name == "memory")


def test_artifacts_are_named_as_the_design_says():
    plan = planner().plan(request(type="Q4_K_M"), "p")
    assert artifact_name(plan) == "meta-llama_Llama-2-7b-hf_gguf_4bit_Q4_K_M"


@pytest.mark.parametrize("priority", [None, "size"])
@pytest.mark.parametrize("memory", [2.6, 2.8, 3.0])
def test_what_is_said_to_fit_can_be_made_and_takes_less_than_the_least(priority, memory):
    """Without an importance matrix no way out names a type that needs one: both lines come from one search."""
    said = {"memory_gb": memory, "imatrix": False, **({"priority": priority} if priority else {})}
    solution = planner().solution(request(asked=frozenset({"fit"}), **said))
    told = re.findall(r"\w+", " ".join(solution.ways_out))
    assert not any(kind.needs_imatrix and name in told for name, kind in TYPES.items())
    assert (solution.recommended, solution.least.type) == (None, "Q2_K")


def test_a_width_that_256_does_not_divide_hides_no_type():
    """Types are weighed by the sizes in the table of needs, which has what llama.cpp puts in their place."""
    odd = dataclasses.replace(model(), config={**SEVEN_B, "hidden_size": 4128, "intermediate_size": 11016})
    start = request(memory_gb=4.5)
    even, uneven = (planner().plan(dataclasses.replace(start, info=info), "p") for info in (model(), odd))
    assert (uneven.type, [c.type for c in uneven.candidates]) == (even.type, [c.type for c in even.candidates])
    assert "_K" in uneven.type or uneven.type.startswith("IQ")


def test_a_type_that_takes_more_bits_than_it_says_is_told_with_types_that_fit():
    from lqmf.fit.needs import Needs, Weights
    from lqmf.planning.reasons import stand_ins

    def weights(name, layer, **read):
        return Weights(name, TYPES[name].bits, 2 * layer + 1000, (layer, layer), 0, 0, True, read)

    def needs(**usual):
        rows = (weights("F16", 1600, f16=3200), weights("Q8_0", 850, q8_0=1700), weights("IQ4_NL", 450, iq4_nl=900))
        return Needs("gguf", "x", 512, 1, {w.type: w for w in (*rows, weights("Q4_K_M", **usual))}, (), (1.0,))

    told = stand_ins(TYPES["Q4_K_M"], TYPES, needs(layer=610, q5_0=900, q8_0=320))
    assert told == (
        "Q4_K_M takes 6.1 bits a weight here, not 4.8: rows that blocks of 256 do not divide are stored as Q5_0 and "
        "Q8_0; the blocks of Q8_0 and IQ4_NL fit"
    )
    assert stand_ins(TYPES["Q4_K_M"], TYPES, needs(layer=482, q4_K=700, q6_K=264)) == ""
    assert stand_ins(TYPES["Q8_0"], TYPES, needs(layer=610, q5_0=900, q8_0=320)) == ""
