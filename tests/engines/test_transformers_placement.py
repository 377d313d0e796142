"""Where and in which precision a model runs follows from what is free, and every choice says why."""

from __future__ import annotations

import pytest

from lqmf.engines.transformers.placement import Machine, needs_accelerate, place
from lqmf.errors import DoesNotFit, GpuOutOfMemory, UsageError
from lqmf.model_files.safetensors_folder import Stored

GIB = 1 << 30
SOURCE = Stored(2 * GIB, GIB, "bfloat16", None)  # 4 GiB in float32
NF4 = Stored(GIB, 2 * GIB, "bfloat16", "bnb")
GPTQ = Stored(GIB, 2 * GIB, "bfloat16", "gptq")


@pytest.mark.parametrize(
    ("weights", "free", "dtype", "says"),
    [
        (SOURCE, 16 * GIB, "float32", "nothing is rounded"),
        (SOURCE, 4 * GIB, "bfloat16", "as stored: float32 would take 4.0 GB of the 3.6 GB"),
        (SOURCE, 2 * GIB, "bfloat16", "read from the disk"),
        (NF4, 2 * GIB, "float32", "nothing is rounded"),
    ],
)
def test_on_the_cpu_it_is_float32_where_there_is_room(weights, free, dtype, says):
    chosen = place(weights, Machine(free), "auto")
    assert (chosen.device, chosen.dtype) == ("cpu", dtype)
    assert says in chosen.reason


@pytest.mark.parametrize(
    ("stored", "bf16", "dtype"),
    [
        ("bfloat16", True, "bfloat16"),
        ("bfloat16", False, "float16"),
        ("float16", True, "float16"),
        ("float32", True, "bfloat16"),
        ("float32", False, "float16"),
    ],
)
def test_on_a_gpu_it_is_16_bits_of_the_kind_that_the_card_has(stored, bf16, dtype):
    weights = Stored(2 * GIB, GIB, stored, None)
    chosen = place(weights, Machine(16 * GIB, 8 * GIB, bf16), "auto")
    assert (chosen.device, chosen.dtype, chosen.memory) == ("gpu", dtype, None)
    assert dtype in chosen.reason


def test_a_limit_moves_the_rest_elsewhere():
    on_gpu = place(SOURCE, Machine(16 * GIB, 8 * GIB, True), "gpu", GIB)
    assert on_gpu.memory == {0: GIB, "cpu": int(0.9 * 16 * GIB)}
    on_cpu = place(SOURCE, Machine(16 * GIB), "cpu", GIB)
    assert on_cpu.memory == {"cpu": GIB}
    assert place(GPTQ, Machine(16 * GIB, 8 * GIB, True), "auto", GIB // 2).memory is not None


def test_what_cannot_be_split_is_refused_with_a_way_out():
    with pytest.raises(GpuOutOfMemory) as on_gpu:
        place(NF4, Machine(16 * GIB, GIB, True), "auto")
    with pytest.raises(DoesNotFit) as on_cpu:
        place(GPTQ, Machine(16 * GIB), "cpu", GIB // 2)
    assert "--device cpu" in on_gpu.value.remedy
    assert "gguf" in on_cpu.value.remedy


def test_a_gpu_that_is_not_there_is_said():
    with pytest.raises(UsageError, match="no GPU"):
        place(SOURCE, Machine(16 * GIB), "gpu")
    assert place(SOURCE, Machine(16 * GIB, 8 * GIB), "cpu").device == "cpu"


def test_accelerate_is_wanted_only_where_something_must_be_placed():
    whole = place(SOURCE, Machine(16 * GIB), "cpu")
    assert not needs_accelerate(whole, SOURCE)
    assert needs_accelerate(whole, NF4)
    assert needs_accelerate(place(SOURCE, Machine(16 * GIB), "cpu", GIB), SOURCE)
