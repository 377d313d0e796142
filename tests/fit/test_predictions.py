"""Predictions beside measurements: what counts as one, how errors are rounded, and the rows that are kept."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from lqmf.fit.predictions import LABELS, compare, observed, percent, rows
from lqmf.records import Divergence, ModelRef, QuantizationPlan, Receipt

PLAN = QuantizationPlan(
    id="p", model=ModelRef("hub", "org/m"), commit=None, method="gguf", bits=4, type="Q4_K_M", format="gguf",
    device="gpu",
)  # fmt: skip
RECEIPT = Receipt(
    kl_divergence=Divergence(0.002, 0.0001, 0.001, 0.01, 0.1, 1.0),
    tokens_per_second={"prompt": 3000.0, "generation": 1000.0},
    peak_memory_bytes={"rss": 210 << 20, "gpu": None},
    size_bytes=4_400_000,
)


def test_a_receipt_gives_each_quantity_that_it_has() -> None:
    assert observed(RECEIPT) == {
        "size_bytes": 4_400_000,
        "peak_rss_bytes": 210 << 20,
        "peak_gpu_bytes": None,
        "prompt_tokens_per_second": 3000.0,
        "generation_tokens_per_second": 1000.0,
        "kl_nats": 0.002,
    }
    assert set(observed(Receipt()).values()) == {None}
    assert observed(RECEIPT).keys() < LABELS.keys()


@pytest.mark.parametrize(
    ("predicted", "measured", "error", "missed"),
    [
        (100, 110, 0.1, False),
        (100, 90, -0.1, False),
        (100, 110.02, 0.1002, True),
        (100, 88, -0.12, True),
        (3.0, 3.00001, 0.0, False),
        (0.004, 0.0, -1.0, True),
        (0.0001, -0.00001, -1.1, True),
    ],
)
def test_an_error_is_rounded_to_four_digits_before_it_is_a_miss(
    predicted: float, measured: float, error: float, missed: bool
) -> None:
    assert compare({"x": predicted}, {"x": measured}) == {
        "x": {"predicted": predicted, "measured": measured, "error": error, "missed": missed}
    }


@pytest.mark.parametrize("predicted", [0.0, -1.0, math.nan, math.inf, None, "much"])
def test_what_is_no_prediction_is_left_out(predicted: Any) -> None:
    assert compare({"x": predicted}, {"x": 1.0}) == {}


@pytest.mark.parametrize("measured", [{}, {"x": None}, {"x": math.nan}, {"y": 1.0}])
def test_what_was_not_measured_is_left_out(measured: dict[str, float | None]) -> None:
    assert compare({"x": 1.0}, measured) == {}


def test_rows_say_where_it_was_run_and_what_was_predicted_before_it_was_corrected() -> None:
    beside = compare({"size_bytes": 4e6, "generation_tokens_per_second": 900.0}, observed(RECEIPT))
    document = json.loads(json.dumps(beside))  # as a receipt on disk holds it
    receipt = Receipt(prediction=document, measured_on={"cpu": "c", "gpu": None, "engine": "e"})
    size, speed = rows(
        receipt, PLAN, architecture="LlamaForCausalLM", machine="c",
        uncorrected={"generation_tokens_per_second": 1200.0},
    )  # fmt: skip
    about = {"model": "org/m", "architecture": "LlamaForCausalLM", "method": "gguf", "type": "Q4_K_M"}
    assert speed == {**about, "device": "cpu", "machine": "c", "quantity": "generation_tokens_per_second"} | {
        "predicted": 900.0, "uncorrected": 1200.0, "measured": 1000.0,
    }  # fmt: skip
    assert (size["predicted"], size["uncorrected"], size["measured"]) == (4e6, 4e6, 4_400_000)
    on_card = Receipt(prediction=document, measured_on={"cpu": "c", "gpu": "g", "engine": "e"})
    assert {row["device"] for row in rows(on_card, PLAN, architecture=None, machine="c")} == {"gpu"}


@pytest.mark.parametrize(
    ("error", "sign", "text"),
    [(0.0, "+", "+0.0 %"), (0.02, "+", "+2 %"), (-0.12, "+", "-12 %"), (0.12, "", "12 %"), (0.0031, "", "0.3 %")],
)
def test_an_error_is_told_in_percent(error: float, sign: str, text: str) -> None:
    assert percent(error, sign) == text
