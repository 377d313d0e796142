"""bitsandbytes: whom it refuses, and what a folder of it holds."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import UsageError
from lqmf.jobs.runner import LocalRunner
from lqmf.model_files import safetensors_header
from lqmf.quantization.bitsandbytes import BitsAndBytesBackend
from lqmf.records import QuantizationPlan, Task, to_json
from tests.contracts.test_backends import DEMO, HARDWARE, MODEL
from tests.quantization.test_gptq import CARD, model

BNB = BitsAndBytesBackend()


def plan(type: str = "nf4", **parameters: Any) -> QuantizationPlan:
    bits = BNB.types[type].bits
    return QuantizationPlan("p", MODEL.ref, None, "bnb", bits, type, "safetensors", "cpu", parameters=parameters)


def quantized(plan: QuantizationPlan, source: Path, place: Path) -> Path:
    out, work = place / "out", place / "work"
    out.mkdir(parents=True)
    work.mkdir()
    params = {"plan": to_json(plan), "source": str(source), "out": str(out), "work": str(work)}
    asyncio.run(LocalRunner().run(Task("j", "quantize", params, str(place / "job.log")), lambda _event: None))
    return out


def kinds(folder: Path) -> dict[str, str]:
    """The stored type of every tensor, by name."""
    return {tensor.name: tensor.dtype for tensor in safetensors_header.tensors(folder)}


def test_it_takes_encoders_and_encoder_decoders_too() -> None:
    for info in (model("RobertaForMaskedLM", "roberta"), model("T5ForConditionalGeneration", "t5")):
        assert BNB.check(info, CARD).answer == "yes"


def test_a_cpu_experts_and_a_missing_tokenizer_are_doubts_each_with_its_reason() -> None:
    assert "CPU" in BNB.check(MODEL, HARDWARE).reason
    assert "experts" in BNB.check(model("Qwen3MoeForCausalLM", "qwen3_moe", num_experts=8), CARD).reason
    assert "tokenizer" in BNB.check(replace(MODEL, has_tokenizer=False), CARD).reason


def test_what_is_quantized_already_or_needs_its_own_code_is_refused() -> None:
    packed = model("LlamaForCausalLM", "llama", quantization_config={"quant_method": "gptq"})
    foreign = replace(model("ChatGLMModel", "chatglm"), wants_remote_code=True)
    for info in (packed, foreign):
        verdict = BNB.check(info, CARD)
        assert (verdict.answer, bool(verdict.remedy)) == ("no", True)


def test_a_model_of_linear_layers_of_its_own_is_refused_before_it_is_read() -> None:
    verdict = BNB.check(model("FalconForCausalLM", "falcon"), CARD)
    assert (verdict.answer, "FalconLinear" in verdict.reason) == ("no", True)


@pytest.mark.parametrize(
    ("type", "said"), [("int8", {"double_quant": True}), ("nf4", {"threshold": 5}), ("int8", {"compute_dtype": "x"})]
)
def test_a_setting_of_another_type_is_refused(type: str, said: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(said))) as error:
        BNB.vet(plan(type, **said), MODEL, DEMO)
    assert "It has" in error.value.remedy


def test_a_calibration_is_refused_since_nothing_is_calibrated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="calibrates nothing"):
        BNB.vet(replace(plan(), calibration=str(DEMO / "config.json")), MODEL, DEMO)


def test_a_module_to_skip_that_there_is_not_is_refused_with_a_name_that_there_is() -> None:
    for there in ("model.layers.0", "mlp.up_proj", "model.layers.3.mlp.down_proj"):
        BNB.vet(plan(skip=[there]), MODEL, DEMO)
    for wrong in ("model.layers.99", "layers.0.mlp", "("):
        with pytest.raises(UsageError, match="has no module") as error:
            BNB.vet(plan(skip=[wrong]), MODEL, DEMO)
        assert "model." in error.value.remedy


@pytest.mark.slow
def test_fp4_without_double_quantization_keeps_its_scales_and_computes_as_was_said(tmp_path: Path) -> None:
    out = quantized(plan("fp4", double_quant=False, compute_dtype="float16"), DEMO, tmp_path)
    told = json.loads((out / "config.json").read_text())["quantization_config"]
    assert (told["bnb_4bit_quant_type"], told["bnb_4bit_use_double_quant"]) == ("fp4", False)
    assert told["bnb_4bit_compute_dtype"] == "float16"
    found = kinds(out)
    assert found["model.layers.0.mlp.up_proj.weight"] == "U8"
    assert found["model.layers.0.mlp.up_proj.weight.absmax"] == "F32"
    assert not any("nested" in name for name in found)


@pytest.mark.slow
def test_int8_leaves_skipped_modules_and_the_head_in_16_bits(tmp_path: Path) -> None:
    out = quantized(plan("int8", threshold=4.5, skip=["model.layers.0.mlp"]), DEMO, tmp_path)
    told = json.loads((out / "config.json").read_text())["quantization_config"]
    assert (told["load_in_8bit"], told["llm_int8_threshold"]) == (True, 4.5)
    found = kinds(out)
    assert found["model.layers.0.mlp.up_proj.weight"] == "BF16"
    assert found["model.layers.1.mlp.up_proj.weight"] == "I8"
    assert found["model.embed_tokens.weight"] == "BF16"


@pytest.mark.slow
def test_an_encoder_decoder_is_quantized_and_loads_again_without_its_source(tmp_path: Path) -> None:
    """A small T5 of random weights, by its own class."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    source = tmp_path / "t5"
    config = T5Config(vocab_size=512, d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4)
    config.decoder_start_token_id = 0
    T5ForConditionalGeneration(config).save_pretrained(source)
    out = quantized(plan(), source, tmp_path)
    assert "U8" in kinds(out).values()
    source.rename(tmp_path / "gone")
    loaded = T5ForConditionalGeneration.from_pretrained(out, device_map="cpu")
    ids = torch.tensor([[5, 6, 7]])
    assert torch.isfinite(loaded(input_ids=ids, decoder_input_ids=ids).logits).all()
