"""What the worker measures on the real demo model is right, in order, within its time, and catches broken files."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from lqmf.errors import MeasurementError, UsageError
from lqmf.events import Event, Progress, StageFinished, StageStarted
from lqmf.jobs.tasks import divergence, generate, probe
from lqmf.model_files.gguf_header import read_header
from lqmf.quality.receipt import schedule
from lqmf.records import Task
from tests.fixtures_gguf import EVALUATION, demo_gguf
from tests.model_files.gguf_writer import text as gguf_text

pytestmark = pytest.mark.slow

WINDOWS = 4


def measure(artifact: Path, base: Path | None, heard: list[Event] | None = None, **params) -> dict:
    params = {"artifact": str(artifact), "base": base and str(base), "text": str(EVALUATION), **params}
    emit = heard.append if heard is not None else lambda event: None
    return divergence.run(Task("j", "divergence", params, ""), emit)


def ask(artifact: Path, heard: list[Event] | None = None, **params) -> dict:
    emit = heard.append if heard is not None else lambda event: None
    return probe.run(Task("j", "probe", {"artifact": str(artifact), **params}, ""), emit)


def changed(folder: Path, tensor: str, value: bytes) -> Path:
    """The F16 file with one tensor filled with a 16-bit value."""
    header = read_header(demo_gguf("F16"))
    found = next(t for t in header.tensors if t.name == tensor)
    data = bytearray(demo_gguf("F16").read_bytes())
    start = header.data_offset + found.offset
    data[start : start + found.size_bytes] = value * (found.size_bytes // 2)
    path = folder / "changed.gguf"
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def measured() -> dict[str, dict]:
    types = ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q2_K")
    return {name: measure(demo_gguf(name), demo_gguf("F16"), max_windows=WINDOWS) for name in types}


# ---------------------------------------------------------------- divergence


def test_the_source_does_not_diverge_from_itself(measured):
    itself = measured["F16"]
    assert itself["kl_divergence"]["max"] < 1e-9
    assert itself["top1_agreement"] == 1
    assert itself["perplexity"] == itself["base"]["perplexity"]


def test_fewer_bits_diverge_more(measured):
    means = [measured[name]["kl_divergence"]["mean"] for name in ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q2_K")]
    assert means == sorted(means)
    assert measured["Q8_0"]["top1_agreement"] > measured["Q2_K"]["top1_agreement"]


def test_the_figures_are_those_of_llama_perplexity(measured):
    """It says .00218 and 96.4 % for Q4_K_M over the whole text; a few windows are near that."""
    found = measured["Q4_K_M"]
    assert found["kl_divergence"]["mean"] == pytest.approx(0.00218, rel=0.25)
    assert found["top1_agreement"] == pytest.approx(0.964, abs=0.02)


def test_what_was_measured_is_said(measured):
    found = measured["Q4_K_M"]
    assert found["tokens_evaluated"] == WINDOWS * 255
    assert (found["windows"], found["window_tokens"]) == (WINDOWS, 512)
    assert found["windows_in_text"] > WINDOWS
    assert found["text"]["name"] == "evaluation"
    assert len(found["text"]["sha256"]) == 64
    assert found["base"] == {**found["base"], "engine": found["engine"], "type": "F16", "noise": None}
    assert found["reasons"] == found["domains"] == {}


def test_the_noise_floor_is_far_below_what_any_type_loses(measured):
    """Reading a window in pieces rounds elsewhere: something, and far less than 8 bits lose."""
    floors = {found["kl_divergence"]["noise_floor"] for found in measured.values()}
    assert len(floors) == 1
    assert 0 < floors.pop() < measured["Q8_0"]["kl_divergence"]["mean"] / 20


def test_error_bars_stand_beside_the_figures(measured):
    """The ratio's is paired: far smaller than those of the two perplexities that it is made of."""
    found = measured["Q4_K_M"]
    ratio = found["perplexity_ratio"]
    assert ratio["value"] == pytest.approx(found["perplexity"] / found["base"]["perplexity"])
    assert ratio["standard_error"] < found["perplexity_standard_error"] / found["perplexity"] / 10
    assert found["base"]["standard_error"] == pytest.approx(found["perplexity_standard_error"], rel=0.05)
    assert abs(found["right_token"]["mean_change"]) <= found["right_token"]["rms_change"] < 0.05
    assert measured["Q2_K"]["right_token"]["rms_change"] > 2 * found["right_token"]["rms_change"]


def test_a_spent_budget_still_measures_four_windows_and_these_are_the_first(measured):
    heard: list[Event] = []
    found = measure(demo_gguf("Q4_K_M"), demo_gguf("F16"), heard, budget_seconds=0)
    assert found["windows"] == 2 * schedule.FEWEST_ROUNDS == WINDOWS
    assert found["kl_divergence"] == measured["Q4_K_M"]["kl_divergence"]
    progress = [event.done for event in heard if isinstance(event, Progress)]
    assert progress == [1, 2, 3, 4]
    assert isinstance(heard[0], StageStarted)
    assert isinstance(heard[-1], StageFinished)


def test_without_a_source_there_is_perplexity_alone_and_the_reason(measured):
    found = measure(demo_gguf("Q4_K_M"), None, max_windows=WINDOWS, base_reason="not on this machine")
    assert found["perplexity"] == measured["Q4_K_M"]["perplexity"]
    assert found["base"] is found["kl_divergence"] is found["top1_agreement"] is found["perplexity_ratio"] is None
    assert set(found["reasons"].values()) == {"not on this machine"}


def test_a_lost_weight_matrix_shows_in_the_divergence(tmp_path, measured):
    found = measure(changed(tmp_path, "blk.3.ffn_down.weight", b"\0\0"), demo_gguf("F16"), max_windows=4)
    assert found["kl_divergence"]["mean"] > 5 * measured["Q4_K_M"]["kl_divergence"]["mean"]


def test_predictions_that_are_no_numbers_end_the_measurement(tmp_path):
    broken = changed(tmp_path, "blk.0.attn_q.weight", struct.pack("<H", 0x7E00))
    with pytest.raises(MeasurementError, match="The artifact gives predictions that are not numbers"):
        measure(broken, demo_gguf("F16"), max_windows=4)


def test_a_text_too_short_for_a_window_is_said(tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("One sentence.")
    with pytest.raises(MeasurementError, match="a window needs 512"):
        measure(demo_gguf("Q4_K_M"), None, text=str(short))


def test_models_that_read_a_text_differently_are_not_compared(tmp_path):
    """Two words of the vocabulary change places: the same text becomes other tokens."""
    data = demo_gguf("Q4_K_M").read_bytes()
    one, two = gguf_text("the"), gguf_text("and")
    assert data.count(one) == data.count(two) == 1
    other = tmp_path / "other.gguf"
    other.write_bytes(data.replace(one, b"\xff" * len(one)).replace(two, one).replace(b"\xff" * len(one), two))
    with pytest.raises(MeasurementError, match="different tokens"):
        measure(other, demo_gguf("F16"))


# ---------------------------------------------------------------- probe


@pytest.fixture(scope="module")
def probed() -> dict:
    return ask(demo_gguf("Q4_K_M"))


def test_a_working_model_passes_every_check(probed):
    assert {check["name"]: check["passed"] for check in probed["checks"]} == {
        "weights_present": True,
        "finite_predictions": True,
        "stops": True,
        "speaks": True,
        "no_loops": True,
    }


def test_speed_memory_and_size_are_measured(probed):
    assert probed["tokens_per_second"]["prompt"] > probed["tokens_per_second"]["generation"] > 0
    assert 0 < probed["latency_seconds"]["first_token"] < probed["latency_seconds"]["per_response"]
    assert probed["load_seconds"] > 0
    assert probed["peak_memory_bytes"]["rss"] > 20 << 20
    assert probed["size_bytes"] == demo_gguf("Q4_K_M").stat().st_size
    assert probed["bits_per_weight"] == pytest.approx(5.07, abs=0.01)
    assert 0 < probed["utilization"]["cpu"] <= 100
    assert probed["engine"].startswith("llama.cpp")


def test_what_is_null_has_a_reason(probed):
    empty = {
        f"{key}.{name}"
        for key in ("peak_memory_bytes", "utilization", "tokens_per_second")
        for name, value in probed[key].items()
        if value is None
    }
    assert empty == set(probed["reasons"])


def test_samples_are_answers_to_questions_and_the_same_each_time(probed):
    assert len(probed["samples"]) == 3
    assert all(sample["prompt"].endswith((".", "?")) and sample["tokens"] > 0 for sample in probed["samples"])
    assert probed["samples"] == ask(demo_gguf("Q4_K_M"))["samples"]


def test_a_lost_weight_matrix_is_named(tmp_path):
    found = ask(changed(tmp_path, "blk.3.ffn_down.weight", b"\0\0"))
    check = next(check for check in found["checks"] if check["name"] == "weights_present")
    assert not check["passed"]
    assert "blk.3.ffn_down.weight" in check["detail"]


def test_a_model_that_predicts_no_numbers_is_not_asked_anything(tmp_path):
    found = ask(changed(tmp_path, "blk.0.attn_q.weight", struct.pack("<H", 0x7E00)))
    check = next(check for check in found["checks"] if check["name"] == "finite_predictions")
    assert not check["passed"]
    assert "samples" not in found
    assert "samples" in found["reasons"]


# ---------------------------------------------------------------- generate


def test_a_prompt_is_continued_and_told_as_it_comes():
    heard: list[Event] = []
    params = {"artifact": str(demo_gguf("Q4_K_M")), "prompt": "A list is a", "sampling": {"max_tokens": 12}}
    found = generate.run(Task("j", "generate", params, ""), heard.append)
    assert found["tokens"] == 12
    assert found["text"] == "".join(event.note for event in heard if isinstance(event, Progress))


def test_messages_are_answered_and_nothing_is_refused():
    params = {"artifact": str(demo_gguf("Q4_K_M")), "sampling": {"max_tokens": 4}}
    asked = {**params, "messages": [{"role": "user", "content": "Hello"}]}
    assert generate.run(Task("j", "generate", asked, ""), lambda event: None)["text"]
    with pytest.raises(UsageError, match="nothing to answer"):
        generate.run(Task("j", "generate", params, ""), lambda event: None)
