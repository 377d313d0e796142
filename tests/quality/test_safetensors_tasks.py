"""What the worker measures of GPTQ and bitsandbytes artifacts: by the same windows and text as of GGUF files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lqmf.errors import MeasurementError
from lqmf.events import Event, Progress
from lqmf.jobs.tasks import convert, divergence, generate, probe
from lqmf.model_files import safetensors_folder
from lqmf.records import ModelRef, QuantizationPlan, Task, to_json
from tests.fixtures_gguf import DEMO, EVALUATION, demo_gguf
from tests.fixtures_safetensors import demo_folder
from tests.kinds import by_kind
from tests.quantization.round_to_nearest import round_to_nearest

pytestmark = pytest.mark.slow

WINDOWS = 2
SAME = ("text", "window_tokens", "tokens_evaluated", "windows", "windows_in_text")


def measure(artifact: Path, base: Path, folder: Path, heard: list[Event] | None = None, **params) -> dict:
    params = {"artifact": str(artifact), "base": str(base), "text": str(EVALUATION), "max_windows": WINDOWS, **params}
    emit = heard.append if heard is not None else lambda event: None
    return divergence.run(Task("j", "divergence", params, str(folder / "j.log")), emit)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict[str, dict]:
    place = tmp_path_factory.mktemp("logs")
    return {kind: measure(demo_folder(kind), DEMO, place) for kind in ("nf4", "fp4", "int8", "gptq", "auto_gptq")}


def copied(kind: str, place: Path) -> Path:
    return Path(shutil.copytree(demo_folder(kind), place / kind))


# ---------------------------------------------------------------- divergence


def test_the_divergences_stand_in_the_literatures_order(measured):
    """8 bits lose least; NF4, whose levels follow a normal distribution, less than FP4 (Dettmers et al., 2023,
    arXiv:2305.14314, table 2)."""
    mean = {kind: found["kl_divergence"]["mean"] for kind, found in measured.items()}
    assert mean["int8"] < mean["nf4"] < mean["fp4"]
    assert mean["gptq"] == mean["auto_gptq"]


def test_the_figures_of_both_formats_are_of_the_same_windows(measured, tmp_path):
    gguf = measure(demo_gguf("Q4_K_M"), demo_gguf("F16"), tmp_path)
    assert {key: gguf[key] for key in SAME} == {key: measured["nf4"][key] for key in SAME}
    assert measured["nf4"]["base"]["perplexity"] == pytest.approx(gguf["base"]["perplexity"], rel=1e-3)
    assert measured["nf4"]["engine"].startswith("transformers")


def test_a_source_is_the_same_model_in_both_engines(tmp_path):
    """So that divergences from the one and from the other can stand in one table."""
    across = measure(demo_gguf("F16"), DEMO, tmp_path)
    assert across["kl_divergence"]["mean"] < 2e-6
    assert across["top1_agreement"] > 0.995


def test_one_after_the_other_gives_the_same_figures(measured, tmp_path):
    heard: list[Event] = []
    apart = measure(demo_folder("nf4"), DEMO, tmp_path, heard, in_turns=True)
    for key in ("kl_divergence", "perplexity", "base", "top1_agreement", "reasons", *SAME):
        assert apart[key] == measured["nf4"][key], key
    told = [(event.done, event.total) for event in heard if isinstance(event, Progress)]
    assert told == [(n / 2, WINDOWS) for n in range(1, 2 * WINDOWS + 1)]
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_with_another_tokenizer_is_not_compared(tmp_path):
    folder = copied("nf4", tmp_path)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["Ġthe"], words["Ġand"] = words["Ġand"], words["Ġthe"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    for in_turns in (False, True):
        with pytest.raises(MeasurementError, match="different tokens"):
            measure(folder, DEMO, tmp_path, in_turns=in_turns)


# ---------------------------------------------------------------- probe


@pytest.mark.parametrize("kind", by_kind(("nf4", "int8", "auto_gptq"), {"nf4"}))
def test_a_working_artifact_passes_every_check_and_is_measured(kind):
    found = probe.run(Task("j", "probe", {"artifact": str(demo_folder(kind)), "device": "cpu"}, ""), lambda event: None)
    assert {check["name"]: check["passed"] for check in found["checks"]} == {
        "weights_present": True,
        "finite_predictions": True,
        "stops": True,
        "speaks": True,
        "no_loops": True,
    }
    assert found["size_bytes"] == sum(file.stat().st_size for file in demo_folder(kind).glob("*.safetensors"))
    assert found["bits_per_weight"] == safetensors_folder.stored(demo_folder(kind)).bits_per_weight
    assert found["tokens_per_second"]["prompt"] > found["tokens_per_second"]["generation"] > 0
    assert found["engine"].startswith("transformers")


def test_a_lost_weight_matrix_is_named(tmp_path):
    folder = copied("gptq", tmp_path)
    tensor, file, begin = next(
        found for found in safetensors_folder.matrices(folder) if "layers.3.mlp.down_proj.qweight" in found[0].name
    )
    data = bytearray(file.read_bytes())
    data[begin : begin + tensor.size_bytes] = bytes(tensor.size_bytes)
    file.write_bytes(data)
    found = probe.run(Task("j", "probe", {"artifact": str(folder), "device": "cpu"}, ""), lambda event: None)
    lost = next(check for check in found["checks"] if check["name"] == "weights_present")
    assert not lost["passed"]
    assert tensor.name in lost["detail"]


# ---------------------------------------------------------------- the rest


def test_an_artifact_answers(tmp_path):
    params = {"artifact": str(demo_folder("nf4")), "prompt": "A list is a", "sampling": {"max_tokens": 6}}
    found = generate.run(Task("j", "generate", params, ""), lambda event: None)
    assert found["tokens"] == 6
    assert found["text"]


def test_what_transformers_runs_is_measured_against_the_source_itself(tmp_path):
    plan = QuantizationPlan("p", ModelRef("demo", "demo"), None, "bnb", 4, "nf4", "safetensors", "cpu")
    params = {"plan": to_json(plan), "source": str(DEMO), "work": str(tmp_path)}
    assert convert.run(Task("j", "convert", params, ""), lambda event: None) == {"base": str(DEMO)}
    assert list(tmp_path.iterdir()) == []


def test_gptq_loses_less_than_rounding_to_the_nearest_on_the_same_grid(measured, tmp_path):
    """4 bits, groups of 128, for both: what GPTQ gains, its calibration gains."""
    nearest = measure(round_to_nearest(DEMO, tmp_path / "rtn"), DEMO, tmp_path)
    assert measured["gptq"]["kl_divergence"]["mean"] < 0.9 * nearest["kl_divergence"]["mean"]
