"""GPTQ: whom it refuses, what it foresees, what a folder of it holds."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import UnsupportedModel, UsageError
from lqmf.events import Event, Notice
from lqmf.fit import formula
from lqmf.jobs.runner import LocalRunner
from lqmf.model_files import safetensors_header
from lqmf.quantization.gptq.backend import GptqBackend
from lqmf.quantization.gptq.make import OFFLOAD, _Layers
from lqmf.records import Gpu, ModelInfo, QuantizationPlan, Task, to_json
from lqmf.texts import calibration
from tests.contracts.test_backends import CONFIG, DEMO, HARDWARE, MODEL
from tests.planning.test_compatibility import headers

GPTQ = GptqBackend()
CARD = replace(HARDWARE, gpus=(Gpu("RTX 4090", 24 << 30, 23 << 30),))


def plan(bits: int = 4, **parameters: Any) -> QuantizationPlan:
    return QuantizationPlan("p", MODEL.ref, None, "gptq", bits, "", "safetensors", "cpu", parameters=parameters)


def model(architecture: str, model_type: str, **config: Any) -> ModelInfo:
    told = {"architectures": [architecture], "model_type": model_type, **config}
    return replace(MODEL, architecture=architecture, model_type=model_type, config=told)


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (model("RobertaForMaskedLM", "roberta"), "does not continue text"),
        (model("T5ForConditionalGeneration", "t5", is_encoder_decoder=True), "does not continue text"),
        (model("BlenderbotForConditionalGeneration", "blenderbot", is_encoder_decoder=True), "does not continue text"),
        (model("LlamaForCausalLM", "llama", quantization_config={"quant_method": "awq"}), "quantized already"),
        (replace(model("ChatGLMModel", "chatglm"), wants_remote_code=True), "knows no 'chatglm'"),
        (model("GPTNeoXForCausalLM", "gpt_neox"), "does not find its head"),
        (model("MambaForCausalLM", "mamba"), "finds no layers"),
        (replace(MODEL, has_tokenizer=False), "no tokenizer"),
        (replace(MODEL, weights_format="pickle"), "pickled"),
    ],
)
def test_what_it_cannot_do_is_refused_with_a_way_out(info: ModelInfo, reason: str) -> None:
    verdict = GPTQ.check(info, CARD)
    assert verdict.answer == "no"
    assert reason in verdict.reason
    assert verdict.remedy


def test_a_gpu_makes_it_a_plain_yes_and_a_stranger_a_but() -> None:
    assert GPTQ.check(MODEL, CARD).answer == "yes"
    assert GPTQ.check(MODEL, HARDWARE).answer == "but"
    assert "by itself" in GPTQ.check(model("BioGptForCausalLM", "biogpt"), CARD).reason


def test_what_only_gptqmodel_loads_is_said_beforehand_beside_other_doubts() -> None:
    alone, both = (GPTQ.check(model("GPT2LMHeadModel", "gpt2"), where) for where in (CARD, HARDWARE))
    assert (alone.answer, "gptqmodel does" in alone.reason) == ("but", True)
    assert both.reason == f"{alone.reason} {GPTQ.check(MODEL, HARDWARE).reason}"


@pytest.mark.parametrize("group", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_foreseen_size_follows_the_group(bits: int, group: int) -> None:
    """Against the formula that is exact to the byte."""
    shapes = safetensors_header.tensors(DEMO)
    exact = formula.needs(CONFIG, shapes, {"x": formula.gptq(bits, group)}, method="gptq", contexts=[512], parallel=1)
    usual = GPTQ.needs(MODEL, DEMO, (), 1)
    info = replace(MODEL, parameters=sum(shape.elements for shape in shapes))
    foreseen = GPTQ.estimate(info, plan(bits, group_size=group), HARDWARE, usual).size_bytes
    assert foreseen == pytest.approx(exact.weights["x"].file_bytes, rel=0.02)


def test_more_windows_are_foreseen_to_take_longer_and_more_memory() -> None:
    few, many = (GPTQ.estimate(MODEL, plan(windows=count), HARDWARE) for count in (8, 256))
    assert (few.seconds or 0) < (many.seconds or 0)
    assert few.ram_peak_bytes < many.ram_peak_bytes


@pytest.mark.parametrize(
    "wish", [{"adapter": "./a"}, {"discard_source": True}, {"imatrix": True}, {"keep": ("output=Q8_0",)}]
)
def test_what_only_gguf_has_is_refused(wish: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="GPTQ does not take --"):
        GPTQ.vet(replace(plan(), **wish), MODEL, DEMO)


def matrices(**shapes: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Names of a layer's matrices, (outputs, columns) each."""
    return {f"model.layers.0.{name}_proj.weight": shape for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("shapes", "group"),
    [
        (matrices(q=(256, 256), down=(256, 512)), 128),
        (matrices(q=(192, 192), down=(192, 448)), 64),
        (matrices(q=(576, 576), down=(576, 1536)), 64),  # SmolLM2 135M
        (matrices(q=(960, 960), down=(960, 2560)), 64),  # SmolLM2 360M
        (matrices(q=(64, 96), up=(64, 128)), 32),
        ({**matrices(q=(256, 256)), "model.layers.0.mlp.gate.weight": (8, 200)}, 128),  # a router is not rounded
    ],
)
def test_the_largest_group_that_divides_every_matrix_is_taken_and_the_plan_says_so(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], group: int
) -> None:
    folder = headers(tmp_path, **shapes)
    needs = GPTQ.needs(MODEL, folder, (), 1)
    assert dict(needs.settings) == ({} if group == 128 else {"group_size": group})
    GPTQ.vet(plan(group_size=str(group)), MODEL, folder)
    if group < 128:
        with pytest.raises(UsageError, match="Groups of 128 do not divide") as caught:
            GPTQ.vet(plan(group_size="128"), MODEL, folder)
        assert f"group_size={group}" in caught.value.remedy


@pytest.mark.parametrize("shapes", [matrices(q=(256, 256), k=(48, 256)), matrices(q=(256, 250))])
def test_matrices_that_cannot_be_packed_are_refused_before_work(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]]
) -> None:
    with pytest.raises(UnsupportedModel, match=r"48 outputs|250 columns") as caught:
        GPTQ.needs(MODEL, headers(tmp_path, **shapes), (), 1)
    assert "--method gguf" in caught.value.remedy


def test_a_mixture_is_loaded_by_gptqmodel_whatever_its_type() -> None:
    told = GPTQ.check(model("OlmoeForCausalLM", "olmoe", num_experts=64), CARD)
    assert "transformers does not load" in told.reason


def test_layers_count_up_whoever_finishes_first_and_tell_the_time_left() -> None:
    told: list[tuple[float, float | None, str]] = []
    seconds = iter([0.0, 10.0, 30.0, 60.0])
    layers = _Layers(4, lambda *said: told.append(said), lambda: next(seconds))
    for layer, finished in ((0, False), (0, True), (2, True), (1, True), (3, False), (3, True)):
        layers.layer_complete(layer_idx=layer, submodule_finalized=finished)
    assert [done for done, _, _ in told] == [1, 3, 4]
    assert [note for _, _, note in told] == ["about 30 s left", "about 10 s left", ""]


@pytest.mark.slow
def test_what_was_set_is_in_the_folder_and_the_text_in_the_manifest(tmp_path: Path) -> None:
    """Asymmetric 3 bits in groups of 32, act-order, from a file; nothing of the work is left."""
    words = tmp_path / "words.txt"
    words.write_bytes((DEMO.parent / "text" / "calibration.txt").read_bytes()[:60_000])
    out, work = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    work.mkdir()
    said = {"group_size": 32, "desc_act": True, "sym": False, "damp_percent": 0.02, "windows": 2}
    wanted = replace(plan(3, **said), calibration=str(words))
    told: list[Event] = []
    params = {"plan": to_json(wanted), "source": str(DEMO), "out": str(out), "work": str(work)}
    log = tmp_path / "job.log"
    built = asyncio.run(LocalRunner().run(Task("j", "quantize", params, str(log)), told.append))
    config = json.loads((out / "config.json").read_text())
    found = config["quantization_config"]
    assert [found[name] for name in ("bits", "group_size", "desc_act", "sym")] == [3, 32, True, False]
    assert found["meta"]["damp_percent"] == 0.02
    kept = {name: value for name, value in CONFIG.items() if name not in ("transformers_version", "dtype")}
    assert {name: config.get(name) for name in kept} == kept
    assert built["calibration"] == {
        "text": "words.txt", "text_sha256": calibration.of_file(words).sha256, "windows": 2, "window_tokens": 512,
    }  # fmt: skip
    assert not (work / OFFLOAD).exists()
    assert not any(isinstance(event, Notice) for event in told)
    assert b"GPT" in log.read_bytes()  # the library's own words
