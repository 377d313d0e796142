"""How a plan is made: an importance matrix where it helps, what is made on the way, and mixes of types for a size."""

import dataclasses

import pytest

from lqmf.errors import DoesNotFit, UsageError
from lqmf.planning.planner import GIB
from lqmf.records import Hardware
from tests.planning.test_planner import LAPTOP, planner, questions, request

ROOMY = Hardware("cpu", 4, 64 * GIB, 60 * GIB)
TINY = Hardware("cpu", 4, 8 * GIB, 6 * GIB)


def plan(hardware: Hardware = ROOMY, **slots):
    return planner().plan(request(hardware, **slots), "p")


def reason(made, name: str) -> str:
    return next(choice.reason for choice in made.choices if choice.name == name)


@pytest.mark.parametrize(
    ("type", "guided"), [("Q4_K_M", True), ("Q3_K_M", True), ("Q5_K_M", False), ("Q8_0", False), ("F16", False)]
)
def test_a_matrix_guides_types_of_four_bits_and_fewer(type, guided):
    made = plan(type=type)
    assert made.imatrix is guided
    assert reason(made, "imatrix")


def test_what_was_said_of_the_matrix_holds():
    assert plan(type="Q6_K", imatrix=True).imatrix
    assert not plan(type="Q4_K_M", imatrix=False).imatrix
    assert plan(type="Q8_0", calibration="/x/mine.txt").imatrix
    with pytest.raises(UsageError, match="IQ2_XS"):
        plan(type="IQ2_XS", imatrix=False)
    with pytest.raises(UsageError, match="exclude"):
        plan(type="Q4_K_M", imatrix=False, calibration="/x/mine.txt")


def test_what_is_made_on_the_way_is_the_best_that_can_be_run():
    """Llama 2 7B: 13.5 GB in 16 bits, 7.2 GB in 8."""
    assert plan(ROOMY, type="Q4_K_M").base == "F16"
    assert plan(LAPTOP, type="Q4_K_M").base == "Q8_0"
    assert "16 bits would take" in reason(plan(LAPTOP, type="Q4_K_M"), "base")


def test_without_room_to_run_the_source_the_plan_says_so_and_measures_nothing():
    made = plan(TINY, type="Q3_K_M")
    assert made.base is None
    assert not made.imatrix
    assert "not measured" in reason(made, "base")
    with pytest.raises(DoesNotFit, match="memory"):
        plan(TINY, type="IQ2_XS", fit="anyway")


def test_nothing_is_made_on_the_way_that_nothing_needs():
    assert plan(type="Q8_0", test="none").base is None
    assert plan(type="Q4_K_M", test="none", calibration="/x/mine.imatrix.gguf").base is None
    assert plan(type="Q4_K_M", test="none").base == "F16"


def test_the_disk_of_what_is_made_on_the_way_is_counted():
    bare = plan(type="Q8_0", test="none").estimate
    tested = plan(type="Q8_0").estimate
    assert bare.disk_peak_bytes == bare.size_bytes
    assert tested.disk_peak_bytes > bare.disk_peak_bytes + 13e9


def test_a_discarded_source_is_calibrated_on_only_by_a_finished_matrix():
    made = plan(type="Q4_K_M", discard_source=True)
    assert (made.imatrix, made.base, made.discard_source) == (False, None, True)
    assert "compares with nothing" in reason(made, "base")
    assert plan(type="Q4_K_M", discard_source=True, calibration="/x/m.gguf").imatrix
    for wish in ({"type": "auto"}, {"type": "IQ2_XS"}, {"type": "Q4_K_M", "imatrix": True}):
        with pytest.raises(UsageError, match="twice"):
            plan(discard_source=True, **wish)


def test_a_mix_is_as_large_as_was_said():
    made = plan(type="auto", target_size_gb=4.0)
    assert (made.type, made.target_bytes, made.bits) == ("auto", 4_000_000_000, 4)
    assert made.imatrix
    assert made.estimate.size_bytes == 4_000_000_000


def test_a_mix_by_bits_counts_all_tensors():
    made = plan(type="auto", bits=4.25)
    assert made.target_bytes == pytest.approx(4.25 / 8 * 6.6e9, rel=0.03)
    assert made.bits == 4


def test_a_mix_with_no_size_takes_that_of_the_preset_it_replaces():
    preset = plan(type="Q4_K_M").estimate.size_bytes
    assert plan(type="auto", bits=4).target_bytes == preset
    free = plan(type="auto")
    assert free.target_bytes == plan().estimate.size_bytes


def test_a_mix_is_expected_to_lose_less_than_the_preset_of_its_size():
    assert plan(type="auto", bits=4).uncorrected["kl_nats"] < plan(type="Q4_K_M").uncorrected["kl_nats"]


def test_a_larger_mix_is_never_expected_to_lose_more():
    losses = [plan(type="auto", target_size_gb=size / 10).uncorrected["kl_nats"] for size in range(26, 75, 4)]
    assert losses == sorted(losses, reverse=True)


def test_a_mix_is_asked_nothing_that_was_said():
    assert questions(request(ROOMY, type="auto", target_size_gb=4.0)) == []


def test_what_was_said_of_single_tensors_and_adapters_is_in_the_plan():
    made = plan(type="auto", keep=["output=Q8_0"], adapter="/x/lora")
    assert (made.keep, made.adapter) == (("output=Q8_0",), "/x/lora")
    assert dataclasses.asdict(made)["keep"] == ("output=Q8_0",)
