"""The planner asks only for what is missing and matters, keeps what was said, and gives a reason for every choice."""

import dataclasses

import pytest

from lqmf.agents.planner_agent import GIB, PlannerAgent, Request, artifact_name, kv_cache_bytes
from lqmf.errors import NotBuilt, UsageError
from lqmf.quantization.registry import backends
from lqmf.records import Gpu, Hardware, ModelInfo, ModelRef, RemoteFile

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


def planner(**settings) -> PlannerAgent:
    return PlannerAgent(backends(), gpu_memory_limit_gb=8, **settings)


def request(hardware: Hardware = LAPTOP, asked: frozenset[str] = frozenset(), **slots) -> Request:
    return Request(slots, model(), hardware, asked)


def questions(start: Request, agent: PlannerAgent | None = None) -> list[str]:
    """Ids of everything asked when each answer is the recommended one."""
    agent, ids = agent or planner(), []
    while question := agent.next_question(start):
        ids.append(question.id)
        change = question.default if isinstance(question.default, dict) else {question.id: question.default}
        start = dataclasses.replace(start, slots={**start.slots, **change}, asked=start.asked | {question.id})
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
    assert plan.type in ("Q3_K_M", "Q2_K")
    assert "4.5 GB" in next(c.reason for c in plan.choices if c.name == "type")


@pytest.mark.parametrize(("wish", "expected"), [("quality", "Q8_0"), ("size", "Q3_K_M"), (None, "Q4_K_M")])
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
        again = Request({**start.slots, **option.value}, start.info, LAPTOP, frozenset({"bits"}))
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


@pytest.mark.parametrize(
    ("slots", "says"),
    [
        ({"method": "gptq"}, "GPTQ"),
        ({"type": "nf4"}, "bitsandbytes"),
        ({"type": "IQ2_XS"}, "importance matrix"),
        ({"type": "auto"}, "cannot choose"),
        ({"format": "safetensors"}, "safetensors"),
    ],
)
def test_what_this_version_cannot_do_is_said_plainly(slots, says):
    with pytest.raises(NotBuilt, match=says) as caught:
        planner().next_question(request(**slots))
    assert caught.value.remedy


def test_bits_that_no_type_has_name_those_there_are():
    with pytest.raises(UsageError) as caught:
        planner().next_question(request(bits=7))
    assert "8" in caught.value.message + caught.value.remedy


def test_an_adviser_may_choose_among_the_options_and_nothing_else():
    class Says:
        def __init__(self, value):
            self.value = value

        def recommend(self, question, facts):
            return self.value

    assert planner(adviser=Says("Q4_0")).next_question(request(bits=4)).default == "Q4_0"
    assert planner(adviser=Says("Q9_Z")).next_question(request(bits=4)).default == "Q4_K_M"


def test_after_a_full_gpu_the_same_plan_runs_on_the_cpu():
    plan = planner().plan(request(CARD, type="Q4_K_M"), "p")
    again = planner().on_cpu(plan, "the GPU was full")
    assert (plan.device, again.device, again.type) == ("gpu", "cpu", plan.type)
    assert [c.reason for c in again.choices if c.name == "device"] == ["the GPU was full"]


def test_the_cache_of_mistral_7b_at_8192_tokens_is_one_gibibyte():
    mistral = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
    assert kv_cache_bytes(mistral, 8192) == 1024 << 20


def test_artifacts_are_named_as_the_design_says():
    plan = planner().plan(request(type="Q4_K_M"), "p")
    assert artifact_name(plan) == "meta-llama_Llama-2-7b-hf_gguf_4bit_Q4_K_M"
