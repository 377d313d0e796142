"""A question about the plan that was made before is answered from that plan."""

import asyncio

import pytest

from lqmf.app import App
from lqmf.knowledge.answering import messages
from lqmf.knowledge.last_plan import of_plan
from lqmf.knowledge.passages import Passage
from lqmf.operations.asking import never_asking
from lqmf.operations.explain import run
from lqmf.records import Choice, Estimate, ModelRef, QuantizationPlan, Request

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


def test_a_chat_answers_from_its_last_plan_before_the_notes(tmp_path):
    app = App.create(str(tmp_path), {}, tmp_path, {})
    app.last_plan = PLAN
    try:
        asked = [
            asyncio.run(run(app, Request(intent="explain", topic=topic), never_asking()))
            for topic in ("that type", "gguf")
        ]
    finally:
        app.close()
    assert [one.passages[0].name for one in asked] == ["last-plan", "gguf"]


def test_what_a_plan_says_goes_to_a_provider_without_its_paths():
    found = Passage("last-plan", "The last plan", (), "calibration /home/somebody/notes.txt: as you said", ())
    told = messages("why?", [found], [], [], str)
    assert "somebody" not in str(told)
    assert "as you said" in str(told)
