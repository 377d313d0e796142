"""One table says which method can make something of a model, and every no names a way out."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lqmf.model_files import gguf_types
from lqmf.model_files.prequantized import frozen, unreadable
from lqmf.model_files.safetensors_header import TensorShape
from lqmf.planning.compatibility import FALLBACKS, Row, compatibility, fallback, kind, traits
from lqmf.quantization.registry import backends
from lqmf.records import Hardware, ModelInfo, ModelRef, Verdict
from tests.model_files.gguf_writer import gguf, tensor
from tests.quantization.test_gguf_metadata import dry_run

HARDWARE = Hardware("cpu", 2, 24 << 30, 20 << 30)
LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 4096,
    "hidden_size": 512,
    "intermediate_size": 1536,
}
MODEL = ModelInfo(ModelRef("hub", "org/m"), "c" * 40, "LlamaForCausalLM", "llama", LLAMA, (), 14_700_000, 7_345_664)


def model(config: dict[str, Any] | None = None, **changes: Any) -> ModelInfo:
    return replace(MODEL, config={**LLAMA, **(config or {})}, **changes)


def rows(info: ModelInfo, **asked: Any) -> dict[str, Row]:
    return {row.method: row for row in compatibility(backends(), info, HARDWARE, **asked)}


def headers(folder: Path, **shapes: tuple[int, ...]) -> Path:
    """A folder with the header of a safetensors file whose contents are a hole."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    return folder


def test_an_ordinary_model_is_for_gguf_and_what_this_version_lacks_says_so() -> None:
    table = rows(model(), type="Q4_K_M")
    assert next(iter(table)) == "gguf"
    assert table["gguf"].verdict.answer == "yes"
    for method in {"gptq", "bnb"} - backends().keys():
        assert table[method].verdict.answer == "no"
        assert "yet" in table[method].verdict.reason


@pytest.mark.parametrize(
    "info",
    [
        model(weights_format="pickle"),
        model({"architectures": ["HalForCausalLM"]}),
        model({"architectures": ["BertForSequenceClassification"]}),
        model(has_tokenizer=False),
        model({"quantization_config": {"quant_method": "awq", "bits": 4}}),
    ],
)
def test_every_no_has_a_way_out(info: ModelInfo) -> None:
    verdict = rows(info)["gguf"].verdict
    assert verdict.answer == "no"
    assert verdict.reason
    assert verdict.remedy


def test_a_backend_that_is_not_installed_says_so_before_the_model_is_looked_at() -> None:
    class Absent(type(backends()["gguf"])):  # type: ignore[misc]
        def available(self) -> Verdict:
            return Verdict("no", "It is not installed.", "Run `pip install it`.")

    (row,) = (r for r in compatibility({"gguf": Absent()}, model(has_tokenizer=False), HARDWARE) if r.method == "gguf")
    assert row.verdict == Verdict("no", "It is not installed.", "Run `pip install it`.")


def test_a_no_names_the_method_that_can() -> None:
    class Able(type(backends()["gguf"])):  # type: ignore[misc]
        name, title = "bnb", "bitsandbytes"

        def check(self, model: ModelInfo, hardware: Hardware, type: str | None = None) -> Verdict:
            return Verdict("yes", "It can.")

    both = {"gguf": backends()["gguf"], "bnb": Able()}
    table = {row.method: row.verdict for row in compatibility(both, model(has_tokenizer=False), HARDWARE)}
    assert table["gguf"].answer == "no"
    assert table["gguf"].remedy.endswith("It can be done by `--method bnb`.")
    assert table["bnb"].remedy == ""


# ---------------------------------------------------------------- weights that are quantized already

GROUP = {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}}
CHANNEL = {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}


@pytest.mark.parametrize(
    ("told", "readable"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, True),
        ({"quant_method": "bitnet"}, True),
        ({"quant_method": "modelopt"}, True),
        ({"quant_method": "gptq", "bits": 4}, True),
        ({"quant_method": "gptq", "bits": 3}, False),
        ({"quant_method": "awq", "bits": 4}, False),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, False),
        ({"quant_method": "mxfp4"}, False),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"0": GROUP}}, True),
        ({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"0": CHANNEL}}, True),
        ({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized", "config_groups": {}}, True),
        ({"quant_method": "compressed-tensors", "format": "marlin-24", "config_groups": {"0": GROUP}}, False),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {"0": GROUP, "1": GROUP},
            },
            False,
        ),
        ({}, True),
        ("nonsense", True),
    ],
)
def test_what_the_converter_can_widen_and_what_not(told: Any, readable: bool) -> None:
    verdict = unreadable({**LLAMA, "quantization_config": told})
    assert (verdict is None) == readable
    if verdict:
        assert told["quant_method"] in verdict.reason
        assert "16 bits" in verdict.remedy


def test_the_four_bit_floats_of_gpt_oss_are_read_as_they_are() -> None:
    assert (
        unreadable({"architectures": ["GptOssForCausalLM"], "quantization_config": {"quant_method": "mxfp4"}}) is None
    )


# ---------------------------------------------------------------- rows that no block fits


def test_matrices_whose_rows_do_not_divide_are_counted_and_priced(tmp_path: Path) -> None:
    folder = headers(tmp_path, q=(960, 960), down=(960, 2560), norm=(960,))
    verdict = rows(model({"hidden_size": 960, "intermediate_size": 2560}), type="Q4_K_M", skeleton=folder)[
        "gguf"
    ].verdict
    assert verdict.answer == "but"
    assert verdict.reason == (
        "1 of 2 matrices (27% of the weights) have rows of 960, which blocks of 256 do not divide: they become Q5_0, "
        "about 115 KB more."
    )


def test_other_doubts_stay_beside_that_one(tmp_path: Path) -> None:
    folder = headers(tmp_path, q=(960, 960))
    reason = rows(model({"vision_config": {"x": 1}}), type="Q4_K_M", skeleton=folder)["gguf"].verdict.reason
    assert "Only its text part" in reason
    assert "rows of 960" in reason


def test_what_is_not_quantized_anyway_is_not_counted() -> None:
    """Towers for images, convolutions, and the packed matrices of weights that are quantized already."""
    others = [TensorShape("vision_tower.q.weight", "F32", (64, 1152)), TensorShape("conv1d.weight", "F32", (64, 1, 4))]
    packed = TensorShape("q.qweight", "I32", (60, 960))
    assert fallback(model(), "Q4_K_M", others) is None
    assert fallback(model({"quantization_config": {"quant_method": "gptq", "bits": 4}}), "Q4_K_M", [packed]) is None


def test_types_of_small_blocks_and_rows_that_divide_cost_nothing(tmp_path: Path) -> None:
    assert rows(model(), type="Q8_0", skeleton=headers(tmp_path, q=(960, 960)))["gguf"].verdict.answer == "yes"
    assert rows(model(), type="Q4_K_M", skeleton=headers(tmp_path, q=(960, 512)))["gguf"].verdict.answer == "yes"


def test_the_transposed_matrices_of_gpt_2_are_read_the_other_way_round() -> None:
    shape = TensorShape("h.0.attn.c_attn.weight", "F32", (768, 2300))
    assert fallback(model(model_type="gpt2"), "Q4_K_M", [shape]) is None
    assert fallback(model(), "Q4_K_M", [shape]) is not None


def odd_rows(path: Path) -> Path:
    """A llama of one layer, with rows of 288."""
    settings = {"block_count": 1, "context_length": 64, "embedding_length": 288, "feed_forward_length": 288}
    settings |= {"attention.head_count": 9, "attention.head_count_kv": 9}
    pairs: dict[str, Any] = {"general.architecture": "llama", **{f"llama.{k}": v for k, v in settings.items()}}
    pairs["llama.attention.layer_norm_rms_epsilon"] = 1e-5
    names = ["token_embd.weight", *(f"blk.0.{each}.weight" for each in ("attn_q", "attn_output", "ffn_gate"))]
    size = 288 * 288 * 2
    tensors = [tensor(name, (288, 288), 1, number * size) for number, name in enumerate(names)]
    path.write_bytes(gguf(pairs, tensors, b"\0" * size * len(names)))
    return path


@pytest.mark.parametrize("type", ["Q4_K_S", "Q5_K_S", "Q6_K", "Q3_K_S", "Q2_K", "IQ4_XS", "IQ3_S"])
def test_the_larger_types_are_those_that_llama_cpp_itself_takes(type: str, tmp_path: Path) -> None:
    family = next(name for name in FALLBACKS if type.startswith(name))
    code, log = dry_run(odd_rows(tmp_path / "odd.gguf"), gguf_types.LAYOUTS[type].ftype)
    assert code == 0
    gates = re.search(r"blk\.0\.ffn_gate.*falling back to\s+(\w+)", log)
    assert gates
    assert gates[1].upper() == FALLBACKS[family][0]


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, ("decoder",)),
        ({"architectures": ["BertForMaskedLM"]}, ("encoder",)),
        ({"is_encoder_decoder": True}, ("encoder-decoder",)),
        ({"num_local_experts": 8, "num_experts_per_tok": 2}, ("decoder", "8 experts, 2 of them for each token")),
        ({"tie_word_embeddings": True}, ("decoder", "its output shares the embedding")),
        ({"text_config": {"tie_word_embeddings": True}}, ("decoder", "its output shares the embedding")),
        ({"quantization_config": {"quant_method": "fp8"}}, ("decoder", "quantized already (fp8)")),
        ({"quantization_config": "nonsense"}, ("decoder",)),
    ],
)
def test_a_model_is_described_in_words(config: dict[str, Any], says: tuple[str, ...]) -> None:
    architecture = config.get("architectures", ["LlamaForCausalLM"])[0]
    assert traits(model(config, architecture=architecture)) == says


@pytest.mark.parametrize(
    ("architecture", "model_type", "said"),
    [
        ("GPT2LMHeadModel", "gpt2", "decoder"),
        ("LlamaForCausalLM", "llama", "decoder"),
        ("RobertaModel", "roberta", "encoder"),
        ("BertModel", "bert", "encoder"),
        ("BertLMHeadModel", "bert", "decoder"),
        ("RobertaForCausalLM", "roberta", "decoder"),
        ("ModernBertForMaskedLM", "modernbert", "encoder"),
        ("T5EncoderModel", "t5", "encoder"),
        ("T5ForConditionalGeneration", "t5", "encoder-decoder"),
        ("BlenderbotForConditionalGeneration", "blenderbot", "encoder-decoder"),
        ("Gemma3ForConditionalGeneration", "gemma3", "decoder"),
    ],
)
def test_every_kind_of_model_is_told_by_its_names(architecture: str, model_type: str, said: str) -> None:
    two = {"is_encoder_decoder": True} if model_type in ("t5", "blenderbot") else {}
    assert kind(model(two, architecture=architecture, model_type=model_type)) == said


def test_experts_that_are_mxfp4_already_stay_so() -> None:
    """libllama refuses to quantize them again, when all has been downloaded; so it is said before."""
    config = {"architectures": ["GptOssForCausalLM"], "quantization_config": {"quant_method": "mxfp4"}}
    told = frozen(config, "Q4_K_M")
    assert told is not None
    assert (told.answer, "MXFP4_MOE" in told.remedy) == ("no", True)
    assert frozen(config, "MXFP4_MOE") is None
    assert frozen({**LLAMA}, "Q4_K_M") is None
