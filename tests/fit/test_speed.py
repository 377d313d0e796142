"""How fast and how large: by hand where numbers are small, and against what must hold of any machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.fit import calibration, speed
from lqmf.fit.calibration import Calibration, Rate, Rates
from lqmf.fit.needs import Needs, Sample, Weights
from lqmf.ggml import synthetic_model
from lqmf.jobs.tasks.calibrate import SMALL, TYPES
from lqmf.jobs.tasks.probe import DEPTHS
from lqmf.model_files.gguf_header import read_header
from lqmf.records import Run, from_json, to_json

SLOW = Rates(
    {"q4_k": Rate(1e9, 1e12, copied=1.0), "q6_k": Rate(2e9, 2e12), "f32": Rate(1e9, 1e12)},
    node_seconds=1e-6,
    cached_node_seconds=1e-7,
    attention_per_second=1e9,
    prompt_attention_per_second=1e10,
    passing_seconds=1e-9,
    vocabulary_seconds=1e-8,
)
FAST = Rates({name: Rate(1e12, 1e15) for name in SLOW.types}, 1e-6, 1e-7, 1e12, 1e13, 1e-12, 1e-9)
MACHINE = Calibration("a machine", SLOW, None, 60_000_000, 300.0)
RUN = Run(2048)


def sample(context: int, ubatch: int) -> Sample:
    return Sample(context, "f16", ubatch, context * 1000, context * 1000, 0, ubatch * 1000, 32000 * 4)


# Two layers of 400 MB, 80 MB of them F32, and a head of 200 MB; half of the layers' other bytes are Q4_K.
WEIGHTS = Weights(
    "Q4_K_M", 4, 1_200_000_000, (400_000_000,) * 2, 150_000_000, 200_000_000, False,
    {"q4_K": 360_000_000, "q6_K": 560_000_000, "f32": 80_000_000},
)  # fmt: skip
NEEDS = Needs(
    "gguf", "by hand", 4096, 1, {"Q4_K_M": WEIGHTS},
    tuple(sample(context, ubatch) for context in (512, 4096) for ubatch in (512, 128)),
    (0.5, 0.5), nodes=1000, attention=100_000,
)  # fmt: skip


def test_a_token_takes_its_weights_its_steps_its_attention_and_its_choice():
    weights = 0.36 + 0.56 / 2 + 0.08
    seconds = weights + 1000 * 1e-6 + 100_000 * (256 + 32) / 1e9 + 32000 * 1e-8
    paced = speed.pace(MACHINE, NEEDS, WEIGHTS, RUN)
    assert paced
    assert paced.generation == pytest.approx(1 / seconds)


def test_a_model_that_fits_the_caches_waits_less():
    tiny = replace(WEIGHTS, read={"q4_K": 20_000_000}, layers=(10_000_000,) * 2, output_bytes=0)
    paced = speed.pace(MACHINE, NEEDS, tiny, RUN)
    assert paced
    assert paced.generation == pytest.approx(1 / (0.02 + 1000 * 1e-7 + 100_000 * 288 / 1e9 + 32000 * 1e-8))


def test_experts_are_found_in_the_caches_as_often_as_those_hold_their_part_of_the_model():
    layers = (speed.CACHED_BYTES * 2,) * 2  # a quarter of it is in the caches
    sparse = replace(WEIGHTS, read={"q4_K": 20_000_000}, layers=layers, output_bytes=0, chosen={"q4_K": 16_000_000})
    paced = speed.pace(MACHINE, NEEDS, sparse, RUN)
    assert paced
    same = 0.02 + 100_000 * 288 / 1e9 + 32000 * 1e-8
    assert paced.generation == pytest.approx(1 / (same + 1000 * (0.25 * 1e-7 + 0.75 * 1e-6)))


def test_a_prompt_computes_with_every_weight_but_the_heads_and_looks_at_half_of_all_pairs():
    elements = {"q4_k": 0.36e9 * 256 / 144, "q6_k": 0.56e9 * 256 / 210, "f32": 0.08e9 / 4}
    multiplied = sum(256 * count / SLOW.types[name].multiply_adds_per_second for name, count in elements.items())
    seconds = multiplied * 0.8 + 100_000 * 256**2 / 2 / 1e10 + 100_000 * 256 * 1e-9 + 1000 * 1e-6
    paced = speed.pace(MACHINE, NEEDS, WEIGHTS, RUN)
    assert paced
    assert paced.prompt == pytest.approx(256 / seconds)


def test_a_prompt_leaves_out_the_head_in_its_own_type_where_that_is_known():
    known = replace(WEIGHTS, head="q6_K")
    elements = {"q4_k": 0.36e9 * 256 / 144, "q6_k": (0.56e9 - 0.2e9) * 256 / 210, "f32": 0.08e9 / 4}
    multiplied = sum(256 * count / SLOW.types[name].multiply_adds_per_second for name, count in elements.items())
    paced = speed.pace(MACHINE, NEEDS, known, RUN)
    assert paced
    others = 100_000 * 256**2 / 2 / 1e10 + 100_000 * 256 * 1e-9 + 1000 * 1e-6
    assert paced.prompt == pytest.approx(256 / (multiplied + others))


def test_whole_models_take_as_much_longer_as_was_measured():
    slower = replace(MACHINE, cpu=replace(SLOW, whole_token=1.25, whole_prompt=1.5))
    before, after = (speed.pace(machine, NEEDS, WEIGHTS, RUN) for machine in (MACHINE, slower))
    assert before
    assert after
    assert before.generation / after.generation == pytest.approx(1.25)
    assert before.prompt / after.prompt == pytest.approx(1.5)


def test_weights_in_experts_take_as_much_longer_as_was_measured():
    slower = replace(MACHINE, cpu=replace(SLOW, expert_reading=1.5, expert_multiplying=3.0))
    sparse = replace(WEIGHTS, chosen={"q4_K": 200_000_000}, head="q6_K")
    before, after = (speed.pace(machine, NEEDS, sparse, RUN) for machine in (MACHINE, slower))
    assert before
    assert after
    assert 1 / after.generation - 1 / before.generation == pytest.approx(0.5 * 0.2e9 / 1e9)
    assert 256 / after.prompt - 256 / before.prompt == pytest.approx(2 * 256 * 0.2e9 * 256 / 144 / 1e12)


def test_a_model_that_the_caches_hold_is_read_and_multiplied_faster():
    held = replace(MACHINE, cpu=replace(SLOW, cached_reading=0.5, cached_multiplying=0.25))
    tiny = replace(WEIGHTS, read={"q4_K": 20_000_000}, layers=(10_000_000,) * 2, output_bytes=0)
    before, after = (speed.pace(machine, NEEDS, tiny, RUN) for machine in (MACHINE, held))
    assert before
    assert after
    assert 1 / before.generation - 1 / after.generation == pytest.approx(0.5 * 0.02)
    assert 256 / before.prompt - 256 / after.prompt == pytest.approx(0.75 * 256 * 20e6 * 256 / 144 / 1e12)


def test_what_was_not_measured_has_no_speed():
    unknown = replace(WEIGHTS, read={"q4_K": 1, "iq9_z": 1})
    assert speed.pace(MACHINE, NEEDS, unknown, RUN) is None
    assert speed.pace(MACHINE, NEEDS, WEIGHTS, replace(RUN, gpu_layers=1)) is None


@given(st.integers(0, 3), st.integers(0, 3))
def test_more_layers_on_a_faster_gpu_are_never_slower(some, more):
    fewer, most = sorted((some, more))
    machine = replace(MACHINE, gpu=FAST)
    paces = [speed.pace(machine, NEEDS, WEIGHTS, replace(RUN, gpu_layers=layers)) for layers in (fewer, most)]
    assert all(paces)
    assert paces[0].generation <= paces[1].generation
    assert paces[0].prompt <= paces[1].prompt


def test_a_model_that_is_wholly_on_the_gpu_runs_at_its_rates():
    whole = speed.pace(replace(MACHINE, gpu=FAST), NEEDS, WEIGHTS, replace(RUN, gpu_layers=3))
    alone = speed.pace(replace(MACHINE, cpu=FAST), NEEDS, WEIGHTS, RUN)
    assert whole == alone


def test_memory_is_the_program_the_tensors_their_copies_the_caches_and_what_is_touched():
    program = 60_000_000 + 32000 * 300
    tensors = 150_000_000 + 200_000_000 + 800_000_000
    copies = 360_000_000
    caches = (2048 + 256) * 2000
    scoring = 64 * 1000 + 128_000 + 64 * 32000 * 8
    later = max(64 * 32000 * 5, 256 * 1000 + 128_000)
    assert speed.peak_rss(MACHINE, NEEDS, WEIGHTS, RUN) == program + tensors + copies + caches + scoring + later


def test_experts_that_no_token_reads_are_copied_too():
    sparse = replace(WEIGHTS, read={"q4_K": 180_000_000, "q6_K": 280_000_000, "f32": 40_000_000})
    dense = speed.peak_rss(MACHINE, NEEDS, WEIGHTS, RUN)
    unread = 800_000_000 / (500_000_000 - 200_000_000)
    assert speed.peak_rss(MACHINE, NEEDS, sparse, RUN) == dense - 360_000_000 + round(180_000_000 * unread)


def test_memory_is_that_of_one_chat_and_needs_no_calibration():
    two = replace(NEEDS, parallel=2, samples=tuple(
        replace(s, k_bytes=2 * s.k_bytes, v_bytes=2 * s.v_bytes, output_bytes=2 * s.output_bytes) for s in NEEDS.samples
    ))  # fmt: skip
    one, other = (speed.peak_rss(None, needs, WEIGHTS, RUN) for needs in (NEEDS, two))
    assert abs(one - other) < 1 << 20
    assert one > WEIGHTS.in_ram(0)


def test_predictions_are_of_the_quick_test():
    quick = DEPTHS["quick"]
    assert (quick.prompt_tokens, quick.written_tokens) == (speed.PROMPT_TOKENS, speed.WRITTEN_TOKENS)


# ---------------------------------------------------------------- where a calibration is kept


def test_a_calibration_is_read_back_on_its_machine_only(tmp_path, monkeypatch):
    monkeypatch.setenv("LQMF_CACHE_DIR", str(tmp_path))
    assert calibration.load() is None
    mine = replace(MACHINE, machine=calibration.this_machine(), gpu=FAST)
    calibration.save(mine)
    assert calibration.load() == mine
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    assert calibration.load() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"machine": "x"}', '{"cpu": 1}', "null"])
def test_a_spoilt_calibration_is_none(tmp_path, monkeypatch, text):
    monkeypatch.setenv("LQMF_CACHE_DIR", str(tmp_path))
    path = calibration.save(replace(MACHINE, machine=calibration.this_machine()))
    path.write_text(text)
    assert calibration.load() is None


def test_a_calibration_survives_json():
    both = replace(MACHINE, gpu=FAST)
    assert from_json(Calibration, json.loads(json.dumps(to_json(both)))) == both
    assert from_json(Calibration, to_json(MACHINE)) == MACHINE


# ---------------------------------------------------------------- models of zeros


@pytest.mark.parametrize("type", TYPES)
def test_a_model_of_zeros_is_a_sound_file_of_the_size_it_says(tmp_path: Path, type: str):
    shape = replace(SMALL, type=type, layers=2, width=256, inner=512)
    synthetic_model.write(tmp_path / "zeros.gguf", shape)
    header = read_header(tmp_path / "zeros.gguf")
    assert header.missing_bytes == 0
    read = [t for t in header.tensors if len(t.shape) == 2 and t.name != "token_embd.weight"]
    assert sum(t.size_bytes for t in read) == shape.read_bytes
    assert sum(t.elements for t in read if t.name.startswith("blk.")) == shape.weights
    assert {t.type.lower() for t in read} == {type}
