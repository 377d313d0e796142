"""The gate passes what its bits account for, fails what they do not, and never passes what was not measured."""

from __future__ import annotations

from typing import Any

import pytest

from lqmf.fit.quality import WEIGHTS
from lqmf.model_files.gguf_types import bits as bits_of
from lqmf.quality.receipt import gate
from lqmf.records import Check, Divergence, Receipt
from lqmf.settings import by_bits

BOUNDS = gate.limits("8:0.01,4:0.1", "8:0.9,4:0.7")


def receipt(kl: float | None = 0.05, top1: float | None = 0.95, **more: Any) -> Receipt:
    found = None if kl is None else Divergence(kl, 0.001, 0.0, 0.0, 0.0, 0.0)
    return Receipt(kl_divergence=found, top1_agreement=top1, text={"name": "evaluation"}, **more)


def judged(made: Receipt, method: str = "gguf", bits: int = 4) -> dict[str, Any]:
    return gate.judge(made, method, bits, BOUNDS)


def test_what_is_within_its_bounds_passes_and_the_bounds_are_told():
    assert judged(receipt()) == {"passed": True, "reasons": [], "limits": {"kl_mean": 0.1, "top1": 0.7}}


@pytest.mark.parametrize(("bits", "limit"), [(16, 0.01), (8, 0.01), (6, 0.1), (4, 0.1), (2, 0.1)])
def test_bits_without_a_bound_take_that_of_the_next_fewer_else_of_the_fewest(bits, limit):
    assert BOUNDS.of(bits)["kl_mean"] == limit


@pytest.mark.parametrize(
    ("made", "seen"),
    [
        (receipt(kl=0.2), "KL divergence is 0.2 nats a token; 0.1 is the most for 4 bits."),
        (receipt(top1=0.5), "The same top choice comes at 50.0% of tokens; 70% is the least for 4 bits."),
        (receipt(kl=None, reasons={"kl_divergence": "infinite: it rules out tokens"}), "is infinite"),
        (receipt(checks=(Check("rope", False, "base 5"),)), "The check rope failed: base 5."),
    ],
)
def test_a_failure_says_what_was_seen(made, seen):
    found = judged(made)
    assert found["passed"] is False
    assert seen in found["reasons"][0]


@pytest.mark.parametrize(
    ("method", "bits", "way_out"),
    [("gguf", 4, "`--bits 5`"), ("gguf", 4, "`--imatrix`"), ("gptq", 4, "group_size=32"), ("bnb", 4, "--type int8")],
)
def test_a_failure_says_what_to_try(method, bits, way_out):
    assert way_out in judged(receipt(kl=0.2), method, bits)["reasons"][0]


def test_one_kind_of_text_can_fail_what_the_whole_hides():
    bad = {"kl_divergence": {"mean": 0.4}, "top1_agreement": 0.9, "text": {"name": "code"}}
    found = judged(receipt(domains={"documentation": {**bad, "text": {"name": "evaluation"}}, "code": bad}))
    assert found["reasons"] == [
        "KL divergence on code is 0.4 nats a token; 0.1 is the most for 4 bits. Try more bits (`--bits 5`), an "
        "importance matrix (`--imatrix`) if none guided it, or another type (`--type auto`)."
    ]


@pytest.mark.parametrize(("kl", "passed"), [(1e-5, True), (0.66, False), (float("nan"), False)])
def test_a_conversion_that_changes_the_model_fails_whatever_quantizing_loses(kl, passed):
    found = judged(receipt(conversion={"kl_divergence": {"mean": kl}, "limit_nats": 1e-3}))
    assert found["passed"] is passed
    assert all("conversion" in reason and "--method bnb" in reason for reason in found["reasons"])


def test_what_was_not_measured_passes_nothing():
    found = judged(receipt(kl=None, top1=None, reasons={"kl_divergence": "its source is gone"}))
    assert found["passed"] is None
    assert "its source is gone" in found["reasons"][0]


@pytest.mark.parametrize("type", [name for name in WEIGHTS if bits_of(name) < 16])
def test_by_default_every_type_passes_with_what_is_published_of_it(type):
    assert WEIGHTS[type] < gate.limits().of(bits_of(type))["kl_mean"]


@pytest.mark.parametrize("type", ["Q2_K", "Q3_K_S", "Q4_0", "Q5_0", "Q6_K"])
def test_by_default_a_type_that_loses_what_two_bits_fewer_would_fails(type):
    """Q4_0's loss does not pass as that of 6 bits."""
    assert WEIGHTS[type] > gate.limits().of(min(8, bits_of(type) + 2))["kl_mean"]


@pytest.mark.parametrize("text", ["", "4", "4:", "four:0.1", "4:-1", "4:nan", "4:0.1,", "4:x"])
def test_a_bound_that_is_none_is_refused_by_name(text):
    with pytest.raises(ValueError, match="is no bound"):
        by_bits(text)
