"""A question about the plan that was made before is answered from that plan."""

import pytest

from lqmf.knowledge.last_plan import of_plan
from lqmf.records import Choice, Estimate, ModelRef, QuantizationPlan

PLAN = QuantizationPlan(
    id="p1",
    model=ModelRef("demo", "demo"),
    commit=None,
    method="gguf",
    bits=4,
    type="Q4_K_M",
    format="gguf",
    device="cpu",
    choices=(
        Choice("model", "demo", ""),
        Choice("type", "Q4_K_M", "the smallest type with little loss"),
        Choice("memory", "171 MB", "15.9 GB are left"),
        Choice("kv_cache", "f16", "no loss"),
    ),
    estimate=Estimate(5_000_000, 20_000_000, 400_000_000, 8.0),
)


@pytest.mark.parametrize(
    ("question", "lines"),
    [
        ("that type", ["type Q4_K_M: the smallest type with little loss"]),
        ("did you choose q4_k_m", ["type Q4_K_M: the smallest type with little loss"]),
        ("so much vram", ["memory 171 MB: 15.9 GB are left"]),
        ("cache", ["kv cache f16: no loss"]),
        ("how much will it download", ["download: nothing"]),
        ("how many minutes", ["time: 8.0 s"]),
        ("the weather", []),
    ],
)
def test_a_question_gets_the_choice_or_the_cost_that_it_names(question, lines):
    found = of_plan(question, PLAN)
    assert (found.text.splitlines() if found else []) == lines


def test_a_bare_why_gets_every_reason():
    found = of_plan("plan", PLAN)
    assert found is not None
    assert len(found.text.splitlines()) == 7
    assert found.title == "The last plan, for demo"
