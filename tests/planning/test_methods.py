"""The method is what the user said, else what suits what they want it for and what is here; and the plan says why."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import NotBuilt, UsageError
from lqmf.fit.fitting import Fitting
from lqmf.planning.methods import choose, question, spelled
from lqmf.planning.planner import Planner, artifact_name
from lqmf.planning.request import PlanRequest
from lqmf.quantization.registry import backends
from lqmf.records import Gpu, Hardware, ModelInfo, QuantizationPlan, Request, Verdict
from tests.contracts.test_backends import DEMO, MODEL

GIB = 1 << 30
LAPTOP = Hardware("cpu", 4, 16 * GIB, 12 * GIB)
CARD = dataclasses.replace(LAPTOP, gpus=(Gpu("RTX 4090", 24 * GIB, 23 * GIB),))


class Absent:
    """A backend whose library is not installed."""

    def __init__(self, name: str) -> None:
        real = backends()[name]
        self.name, self.title, self.types = real.name, real.title, real.types

    def available(self) -> Verdict:
        return Verdict("no", f"{self.title} is not installed.", f"Run `pip install 'lqmf[{self.name}]'`.")


def present(*names: str) -> dict[str, Any]:
    """The backends, of which only `names` are installed."""
    return {name: one if name in names else Absent(name) for name, one in backends().items()}


ALL = present("gguf", "gptq", "bnb")


@pytest.mark.parametrize(
    ("slots", "hardware", "method", "why"),
    [
        ({"method": "bnb"}, CARD, "bnb", "as you said"),
        ({"type": "nf4"}, LAPTOP, "bnb", "bitsandbytes type"),
        ({"type": "int8"}, LAPTOP, "bnb", "bitsandbytes type"),
        ({"type": "4bit"}, LAPTOP, "gptq", "GPTQ type"),
        ({"type": "Q4_K_M", "priority": "speed"}, CARD, "gguf", "GGUF"),
        ({}, LAPTOP, "gguf", "fastest on a CPU"),
        ({"priority": "speed"}, LAPTOP, "gguf", "fastest on a CPU"),
        ({}, CARD, "gguf", "as far as it fits"),
        ({"priority": "speed"}, CARD, "gptq", "RTX 4090"),
        ({"priority": "speed", "device": "cpu"}, CARD, "gguf", "CPU"),
        ({"priority": "speed", "device": "gpu"}, LAPTOP, "gguf", "takes the GPU itself"),
        ({"purpose": "finetune"}, LAPTOP, "bnb", "QLoRA"),
        ({"purpose": "finetune", "priority": "speed"}, CARD, "bnb", "QLoRA"),
        ({"format": "safetensors"}, CARD, "gptq", "safetensors"),
        ({"format": "safetensors"}, LAPTOP, "bnb", "safetensors"),
    ],
)
def test_the_method_suits_the_wish_and_the_machine(
    slots: dict[str, Any], hardware: Hardware, method: str, why: str
) -> None:
    found = choose(Request.of(slots), MODEL, hardware, ALL)
    assert found.name == method
    assert why in found.reason


@pytest.mark.parametrize("slots", [{"priority": "speed"}, {"purpose": "finetune"}])
def test_what_is_not_installed_is_not_chosen_and_the_reason_says_so(slots: dict[str, Any]) -> None:
    found = choose(Request.of(slots), MODEL, CARD, present("gguf"))
    assert found.name == "gguf"
    assert "not installed" in found.reason


def test_what_a_method_cannot_do_is_not_chosen() -> None:
    packed = dataclasses.replace(MODEL, config={**MODEL.config, "quantization_config": {"quant_method": "fp8"}})
    assert choose(Request.of({"priority": "speed"}), packed, CARD, ALL).name == "gguf"


def test_gguf_in_safetensors_files_is_refused_with_the_methods_that_write_them() -> None:
    with pytest.raises(UsageError) as error:
        choose(Request.of({"method": "gguf", "format": "safetensors"}), MODEL, LAPTOP, ALL)
    assert "gptq" in error.value.remedy


def test_int4_is_gptqs_four_bits_and_int8_too_where_it_was_named() -> None:
    assert spelled(Request.of({"type": "int4"})).type == "4bit"
    assert spelled(Request.of({"type": "int8", "method": "gptq"})).type == "8bit"
    assert spelled(Request.of({"type": "int8"})).type == "int8"
    assert spelled(Request.of({"type": "int4", "method": "bnb"})).type == "int4"


def test_a_method_that_is_not_installed_is_asked_about_and_nothing_is_recommended() -> None:
    """So that `--yes` makes nothing else unasked."""
    found = question(Request.of({"method": "gptq"}), present("gguf", "bnb"))
    assert found is not None
    assert [option.value for option in found.options] == ["bnb", "gguf"]
    assert "pip install 'lqmf[gptq]'" in found.text
    assert found.default is None
    assert question(Request.of({"method": "gguf"}), present("gguf")) is None
    assert question(Request.of({}), present("gguf")) is None
    assert question(Request.of({"method": "gptq"}), present()) is None


# ---------------------------------------------------------------- plans


def request(method: str, hardware: Hardware = LAPTOP, **slots: Any) -> PlanRequest:
    backend = backends()[method]
    needs = backend.needs(MODEL, DEMO, (), 1)
    info: ModelInfo = dataclasses.replace(MODEL, context_length=2048, parameters=7_348_480)
    offered = frozenset(kind.name for kind in backend.types.values() if kind.general)

    def loss(method: str, type: str, k_type: str, v_type: str) -> Any:
        from lqmf.fit.quality import expected_loss

        return expected_loss(type, k_type, v_type)

    fit = Fitting({method: needs}, Path(DEMO), loss, lambda *_: None, lambda *_: 0, offered=offered)
    return PlanRequest(Request.of({"method": method, **slots}), info, hardware, fit)


def plan(method: str, hardware: Hardware = LAPTOP, **slots: Any) -> QuantizationPlan:
    agent = Planner(backends(), gpu_memory_limit_gb=8)
    asked = request(method, hardware, **slots)
    assert agent.next_question(asked) is None
    return agent.plan(asked, "p")


@pytest.mark.parametrize(
    ("method", "slots", "expected", "name"),
    [
        ("gptq", {}, (4, ""), "demo_gptq_4bit"),
        ("gptq", {"bits": 8}, (8, ""), "demo_gptq_8bit"),
        ("gptq", {"bits": 2}, (2, ""), "demo_gptq_2bit"),
        ("bnb", {}, (4, "nf4"), "demo_bnb_4bit"),
        ("bnb", {"bits": 4}, (4, "nf4"), "demo_bnb_4bit"),
        ("bnb", {"bits": 8}, (8, "int8"), "demo_bnb_8bit"),
        ("bnb", {"type": "fp4"}, (4, "fp4"), "demo_bnb_4bit_fp4"),
    ],
)
def test_a_plan_has_the_usual_width_or_the_one_said_and_the_name_that_goes_with_it(
    method: str, slots: dict[str, Any], expected: tuple[int, str], name: str
) -> None:
    made = plan(method, **slots)
    assert (made.bits, made.type) == expected
    assert (made.method, made.format, artifact_name(made)) == (method, "safetensors", name)
    assert all(choice.reason for choice in made.choices)
    assert not made.keep_16bit


def test_a_plan_holds_every_setting_and_tells_whose_each_is() -> None:
    made = plan("gptq", parameters={"group_size": "64", "desc_act": "yes"})
    assert dict(made.parameters) == {
        "group_size": 64, "desc_act": True, "sym": True, "damp_percent": 0.05, "windows": 128,
    }  # fmt: skip
    whose = {choice.name: choice.source for choice in made.choices}
    assert (whose["group_size"], whose["desc_act"], whose["sym"]) == ("user", "user", "rules")
    usual = plan("gptq")
    assert made.estimate is not None
    assert usual.estimate is not None
    assert made.estimate.size_bytes > usual.estimate.size_bytes


@pytest.mark.parametrize("method", ["gguf", "gptq", "bnb"])
def test_a_setting_that_the_method_does_not_have_is_refused(method: str) -> None:
    with pytest.raises(UsageError, match="nonsense"):
        Planner(backends(), gpu_memory_limit_gb=8).plan(request(method, parameters={"nonsense": "1"}), "p")


def test_a_missing_extra_is_an_error_that_names_the_exact_command() -> None:
    agent = Planner(present("gguf"), gpu_memory_limit_gb=8)
    with pytest.raises(NotBuilt) as error:
        agent.refuse(Request(method="gptq"), MODEL, LAPTOP)
    assert "pip install 'lqmf[gptq]'" in error.value.remedy


def test_bitsandbytes_lies_on_a_card_as_a_whole_or_not_at_all() -> None:
    small = dataclasses.replace(LAPTOP, gpus=(Gpu("old", GIB, 0),))
    layers = {
        hardware: {one.run.gpu_layers for one in Planner(backends(), gpu_memory_limit_gb=8).plan(
            request("bnb", hardware), "p").candidates}
        for hardware in (CARD, small)
    }  # fmt: skip
    assert layers[CARD] == {9}
    assert layers[small] == {0}
