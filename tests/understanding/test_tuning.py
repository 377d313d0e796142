"""A method's own settings are read from sentences, and go where they belong."""

from __future__ import annotations

import pytest

from lqmf.quantization.bitsandbytes import PARAMETERS as BNB
from lqmf.quantization.gptq.backend import PARAMETERS as GPTQ
from lqmf.quantization.parameters import settled
from lqmf.understanding import tuning
from lqmf.understanding.dialogue import parse_dialogue

SAID = {
    "quantize demo with gptq, group size 64": {"group_size": "64"},
    "gptq g32 of the demo with act-order": {"group_size": "32", "desc_act": "true"},
    "quantize demo by gptq in groups of 128 without activation order": {"group_size": "128", "desc_act": "false"},
    "quantize demo with gptq asymmetric and damping of 1%": {"sym": "false", "damp_percent": "0.01"},
    "quantize demo with symmetric gptq, damping = .02": {"sym": "true", "damp_percent": ".02"},
    "quantize demo to nf4 without double quantization": {"double_quant": "false"},
    "make demo nf4 with nested quantization, compute dtype fp16": {"double_quant": "true", "compute_dtype": "float16"},
    "quantize demo to nf4 with bf16 compute": {"compute_dtype": "bfloat16"},
    "int8 for demo with an outlier threshold of 4.5": {"threshold": "4.5"},
}


@pytest.mark.parametrize("sentence", SAID)
def test_a_methods_own_settings_are_read(sentence: str):
    assert parse_dialogue([sentence])[0].slots["parameters"] == SAID[sentence]


@pytest.mark.parametrize("sentence", SAID)
def test_what_is_read_is_what_the_backend_takes(sentence: str):
    said, method, _rest = tuning.settings(sentence)
    known = {one.name: one for one in (GPTQ if method == "gptq" else BNB)}
    assert said
    assert settled(known, said, "int8" if "threshold" in said else "nf4").keys() >= said.keys()


def test_a_setting_names_the_method_that_has_it():
    implied, said = parse_dialogue(["quantize demo with group size 64", "quantize demo as Q4_K_M in groups of 64"])
    assert implied.slots["method"] == "gptq"
    assert "method" not in said.slots


def test_another_method_leaves_the_settings_behind_and_another_setting_joins_them():
    lines = ("quantize demo with gptq, group size 64", "and with act-order", "no, with bitsandbytes")
    _first, joined, other = parse_dialogue(lines)
    assert joined.slots["parameters"] == {"group_size": "64", "desc_act": "true"}
    assert "parameters" not in other.slots
    assert "parameters" not in parse_dialogue(["demo as nf4 with double quantization", "now as Q4_K_M"])[1].slots


def test_questions_about_a_setting_set_nothing():
    for sentence in ("what is double quantization?", "explain act-order", "which group size should I use?"):
        assert "parameters" not in parse_dialogue([sentence])[0].slots


@pytest.mark.parametrize(
    ("said", "type"),
    [("Q2_0", "Q2_0"), ("q1_0", "Q1_0"), ("nvfp4", "NVFP4"), ("Q4_K", "Q4_K_M"), ("mxfp4", "MXFP4_MOE")],
)
def test_every_type_that_the_library_knows_is_heard(said, type):
    assert parse_dialogue([f"quantize demo to {said}"])[-1].slots["type"] == type
