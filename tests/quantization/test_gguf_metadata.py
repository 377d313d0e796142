"""Types, verdicts and estimates agree with the library they speak about, and cost next to nothing to ask."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.errors import UsageError
from lqmf.model_files import gguf_types
from lqmf.quantization.gguf import check, estimate
from lqmf.quantization.gguf.backend import GgufBackend
from lqmf.quantization.gguf.converter import compat, toolchain
from lqmf.records import Hardware, ModelInfo, ModelRef, QuantizationPlan, RemoteFile
from tests.quantization.bases import make_base

DEMO = Path(str(resources.files("lqmf").joinpath("assets/demo")))
HARDWARE = Hardware("cpu", 2, 24 << 30, 20 << 30)
PLAN = QuantizationPlan("p", ModelRef("demo", "demo"), None, "gguf", 4, "Q4_K_M", "gguf", "cpu")
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "vocab_size": 4096, "hidden_size": 256, "intermediate_size": 768,
    "tie_word_embeddings": True,
}  # fmt: skip
MODEL = ModelInfo(ModelRef("demo", "demo"), None, "LlamaForCausalLM", "llama", LLAMA, (), 14_700_000, 7_345_664)


@pytest.fixture(scope="module")
def demo_f16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(DEMO, tmp_path_factory.mktemp("f16"), lambda _event: None, name="demo").path


def dry_run(source: Path, ftype: int) -> tuple[int, str]:
    """libllama's own forecast for `ftype`: its return code and its log."""
    from llama_cpp import llama_cpp as lib

    heard: list[str] = []
    listen = lib.llama_log_callback(lambda _level, text, _user: heard.append(text.decode(errors="replace")))
    parameters = lib.llama_model_quantize_default_params()
    parameters.ftype, parameters.dry_run = ftype, True
    lib.llama_log_set(listen, ctypes.c_void_p())
    try:
        code = lib.llama_model_quantize(str(source).encode(), b"/nowhere", ctypes.byref(parameters))
    finally:
        lib.llama_log_set(lib.llama_log_callback(), ctypes.c_void_p())
    return code, "".join(heard)


def test_the_types_are_those_that_the_library_takes(demo_f16: Path) -> None:
    from llama_cpp import llama_cpp as lib

    numbers = {name: getattr(lib, name) for name in dir(lib) if name.startswith("LLAMA_FTYPE_")}
    taken = {number for number in numbers.values() if dry_run(demo_f16, number)[0] == 0}
    assert {layout.ftype for layout in gguf_types.LAYOUTS.values()} == taken
    for name, layout in gguf_types.LAYOUTS.items():
        assert layout.ftype in (numbers.get(f"LLAMA_FTYPE_MOSTLY_{name}"), numbers.get(f"LLAMA_FTYPE_ALL_{name}"))


def test_those_that_need_an_importance_matrix_are_those_that_the_library_says(demo_f16: Path) -> None:
    for name, kind in gguf_types.TYPES.items():
        _, log = dry_run(demo_f16, gguf_types.LAYOUTS[name].ftype)
        assert ("will require an imatrix" in log) == kind.needs_imatrix, name


@pytest.mark.parametrize("type", list(gguf_types.TYPES))
def test_the_estimated_size_is_near_the_libraries_own(demo_f16: Path, type: str) -> None:
    _, log = dry_run(demo_f16, gguf_types.LAYOUTS[type].ftype)
    said = float(log.rpartition("quant size  =")[2].split("MiB")[0]) * 2**20
    expected = estimate.estimate(MODEL, replace(PLAN, type=type), HARDWARE)
    tokens = LLAMA["vocab_size"] * 32
    assert expected.size_bytes - tokens == pytest.approx(said, rel=0.08)
    assert expected.disk_peak_bytes >= expected.size_bytes


def test_parameters_are_counted_from_bytes_where_nobody_says() -> None:
    assert estimate.parameters(replace(MODEL, parameters=None, dtype="F32", weights_bytes=400)) == 100


@pytest.mark.parametrize(("bits", "type"), [(2, "Q2_K"), (3, "Q3_K_M"), (4, "Q4_K_M"), (8, "Q8_0"), (16, "F16")])
def test_each_number_of_bits_has_its_recommended_type(bits: int, type: str) -> None:
    assert GgufBackend().default_type(bits) == type
    assert gguf_types.TYPES[type].bits == bits


@given(st.integers().filter(lambda bits: bits not in (2, 3, 4, 5, 6, 8, 16, 32)))
def test_other_numbers_of_bits_are_refused_and_the_choices_named(bits: int) -> None:
    with pytest.raises(UsageError) as error:
        gguf_types.default_type(bits)
    assert "4 (Q4_K_M)" in error.value.remedy


def test_asking_imports_nothing_heavy_and_opens_no_connection() -> None:
    code = f"""
import sys
from lqmf.quantization.registry import backends
from tests.quantization.test_gguf_metadata import HARDWARE, MODEL, PLAN
from tests.quantization.bases import make_base
backend = backends()["gguf"]
backend.available(), backend.check(MODEL, HARDWARE, "Q4_K_M"), backend.estimate(MODEL, PLAN, HARDWARE)
print([name for name in {["torch", "transformers", "llama_cpp", "numpy", "huggingface_hub"]} if name in sys.modules])
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


KNOWN = {
    "LlamaForCausalLM": "llama", "BertModel": "bert", "BertForSequenceClassification": "bert", "T5EncoderModel": "t5",
    "ChatGLMModel": "chatglm", "Gemma3ForCausalLM": "gemma",
}  # fmt: skip
ROBERTAS = (RemoteFile("vocab.json", 9), RemoteFile("merges.txt", 9))  # a tokenizer's files


def verdict(type: str | None = "Q4_K_M", known: dict[str, str] | None = KNOWN, **changes: Any) -> tuple[str, str]:
    config = {**LLAMA, **changes.pop("config", {})}
    found = check.check(replace(MODEL, config=config, **changes), type, known)
    return found.answer, f"{found.reason} {found.remedy}"


@pytest.mark.parametrize(
    ("given", "answer", "says"),
    [
        ({}, "yes", "LlamaForCausalLM"),
        ({"type": None}, "yes", "LlamaForCausalLM"),
        ({"type": "IQ2_M"}, "yes", "LlamaForCausalLM"),
        ({"type": "auto"}, "yes", "LlamaForCausalLM"),
        ({"weights_format": "pickle"}, "no", "safetensors"),
        ({"weights_format": "none"}, "no", "no weights"),
        ({"has_tokenizer": False}, "no", "tokenizer"),
        ({"config": {"architectures": ["HalForCausalLM"]}}, "no", "HalForCausalLM"),
        ({"config": {"architectures": ["BertModel"]}}, "yes", "BertModel"),
        (
            {
                "config": {"architectures": ["BertModel"]},
                "architecture": "BertModel",
                "model_type": "bert",
                "type": "auto",
            },
            "no",
            "Q4_K_M",
        ),
        ({"config": {"architectures": ["BertForSequenceClassification"]}}, "no", "sorts texts"),
        ({"config": {"architectures": ["T5EncoderModel"]}}, "yes", "T5EncoderModel"),
        ({"config": {"architectures": ["T5EncoderModel"]}, "files": ROBERTAS}, "no", "SentencePiece"),
        (
            {"config": {"architectures": ["T5EncoderModel"]}, "files": (*ROBERTAS, RemoteFile("spiece.model", 9))},
            "yes",
            "T5EncoderModel",
        ),
        ({"config": {"architectures": ["ChatGLMModel"]}, "wants_remote_code": True}, "no", "Python code"),
        ({"config": {"architectures": None}, "architecture": None}, "no", "no architecture"),
        ({"known": None}, "but", "unknown until"),
        ({"wants_remote_code": True}, "but", "not run"),
        ({"config": {"hidden_size": 960}}, "yes", ""),  # the plan weighs types by what its rows take
        ({"type": "Q8_0", "config": {"hidden_size": 960}}, "yes", ""),
        ({"type": "MXFP4_MOE"}, "but", "mixtures"),
        ({"config": {"quantization_config": {"bits": 4}}}, "but", "quantized already"),
        (
            {"config": {"text_config": {"architectures": ["Gemma3ForCausalLM"]}, "vision_config": {"x": 1}}},
            "but",
            "text",
        ),
        ({"config": {"text_config": "not what it should be"}}, "yes", ""),
    ],
)
def test_a_verdict_names_its_reason(given: dict[str, Any], answer: str, says: str) -> None:
    found, text = verdict(**given)
    assert found == answer
    assert says in text


def test_a_type_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="Q4_K_XXL"):
        verdict("Q4_K_XXL")


def test_the_real_converter_knows_the_common_families() -> None:
    known = toolchain.ensure().architectures()
    assert {"LlamaForCausalLM", "Qwen3ForCausalLM", "Gemma2ForCausalLM", "FalconForCausalLM"} <= set(known)


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        ({"rope_parameters": {"partial_rotary_factor": 0.25}}, "rotary_pct", 0.25),
        ({"n_positions": 1024}, "n_ctx", 1024),
        ({"n_positions": 1024, "n_ctx": 512}, "n_ctx", 512),
        ({"model_type": "falcon", "multi_query": True, "num_kv_heads": 71}, "num_kv_heads", 1),
        (
            {"model_type": "falcon", "multi_query": True, "new_decoder_architecture": True, "num_kv_heads": 8},
            "num_kv_heads",
            8,
        ),
    ],
)
def test_older_configuration_keys_are_completed(config: dict[str, Any], key: str, value: Any) -> None:
    assert compat.completed(config)[key] == value


def test_the_scale_of_a_t5_that_shares_its_embedding_is_told_and_no_others() -> None:
    """As transformers reads it: what does not say that it is not shared is."""
    assert compat.unsaid_scale({"model_type": "t5", "d_model": 256}) == 1 / 16
    assert compat.unsaid_scale({"model_type": "t5", "d_model": 256, "tie_word_embeddings": True}) == 1 / 16
    assert compat.unsaid_scale({"model_type": "t5", "d_model": 256, "tie_word_embeddings": False}) is None
    saved_again = {"tie_word_embeddings": True, "scale_decoder_outputs": False}  # transformers 5 shares it in any case
    assert compat.unsaid_scale({"model_type": "t5", "d_model": 256, **saved_again}) is None
    assert compat.unsaid_scale({"model_type": "llama", "d_model": 256}) is None


def test_a_rope_base_is_stated_only_where_the_library_would_assume_another() -> None:
    assert compat.unsaid_rope_base({"rope_parameters": {"rope_theta": 20000}}) == 20000.0
    assert compat.unsaid_rope_base({"rope_parameters": {"rope_theta": 10000.0}}) is None
    assert compat.unsaid_rope_base({}) is None
