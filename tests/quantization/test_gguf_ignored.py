"""What libllama computes whatever a configuration says is refused or warned of, and what it can be told is written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lqmf.hardware import Hardware
from lqmf.model_files.gguf_header import read_header
from lqmf.quantization.gguf.converter import ignored
from lqmf.quantization.registry import backend
from lqmf.records import ModelInfo, ModelRef
from tests.architectures import families
from tests.quality.test_conversion import changed
from tests.quantization.bases import make_base

LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 256, "intermediate_size": 512}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}


def described(config: dict[str, Any]) -> ModelInfo:
    return ModelInfo(ModelRef("local", "m", path="/m"), None, "LlamaForCausalLM", "llama", config, (), 0)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"model_type": "llama", "hidden_act": "gelu"}, "hidden_act"),
        ({"model_type": "qwen2", "hidden_act": "relu"}, "hidden_act"),
        ({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"model_type": "qwen3_moe", "norm_topk_prob": False}, "norm_topk_prob"),
        ({"model_type": "qwen3_moe"}, "norm_topk_prob"),  # transformers' default
        ({"model_type": "olmoe", "norm_topk_prob": True}, "norm_topk_prob"),
        ({"model_type": "olmoe", "clip_qkv": 8.0}, "clip_qkv"),
        ({"model_type": "falcon", "alibi": True}, "alibi"),
        ({"model_type": "gemma2", "head_dim": 256, "query_pre_attn_scalar": 224}, "query_pre_attn_scalar"),
        ({"model_type": "gpt_oss", "layer_types": ["full_attention"] * 2}, "layer_types"),
        ({"model_type": "smollm3", "no_rope_layers": [1, 1, 0, 1]}, "no_rope_layers"),
        ({"model_type": "llama", "rope_scaling": {**YARN, "beta_fast": 16}}, "rope_parameters.beta_fast"),
        ({"model_type": "x", "text_config": {"model_type": "llama", "hidden_act": "gelu"}}, "hidden_act"),
    ],
)
def test_what_libllama_computes_in_another_way_is_refused_by_name(config, key):
    assert key in [name for name, _ in ignored.unhonoured(config)]
    refusal = ignored.refusal(config)
    assert refusal is not None
    assert key in refusal.reason
    assert "--method bnb" in refusal.remedy


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "llama"},
        {"model_type": "gpt2", "activation_function": "gelu"},
        {"model_type": "qwen3_moe", "norm_topk_prob": True},
        {"model_type": "gemma2", "head_dim": 256, "query_pre_attn_scalar": 256},
        {
            "model_type": "gemma2", "num_hidden_layers": 46, "hidden_size": 4608, "num_attention_heads": 32,
            "head_dim": 128, "query_pre_attn_scalar": 144,
        },
        {"model_type": "smollm3", "no_rope_layers": [1, 1, 1, 0] * 9},
        {"model_type": "llama", "rope_scaling": {**YARN, "attention_factor": 0.8}},
        {"model_type": "gpt_oss", "rope_parameters": {**YARN, "truncate": False}},
    ],
)  # fmt: skip
def test_what_it_honours_is_not_refused(config):
    assert ignored.refusal(config) is None


@pytest.mark.parametrize("name", families.NAMES)
def test_no_family_of_the_matrix_is_refused_or_warned_of(name):
    assert ignored.refusal(families.config(name)) is None
    assert ignored.window_warning(families.config(name)) is None


@pytest.mark.parametrize(
    ("config", "window"),
    [
        ({"model_type": "mistral", "sliding_window": 64}, 64),
        ({"model_type": "mistral", "sliding_window": None}, None),
        ({"model_type": "qwen2", "sliding_window": 64}, None),  # not used unless it says so
        ({"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": True}, 64),
        ({"model_type": "mistral", "sliding_window": 64, "layer_types": ["full_attention"] * 2}, None),
        ({"model_type": "gemma3_text", "sliding_window": 64}, None),  # libllama keeps to it
    ],
)
def test_a_sliding_window_that_is_ignored_is_told_from_one_that_is_kept_to(config, window):
    assert ignored.ignored_window(config) == window
    warning = ignored.window_warning({**config, "max_position_embeddings": 512})
    assert (warning is not None) is (window is not None)
    assert ignored.window_warning({**config, "max_position_embeddings": 64}) is None


def test_plan_preflight_and_quantize_ask_the_same_check():
    here = Hardware("cpu", 2, 8 << 30, 8 << 30)
    told = backend("gguf").check(described({**LLAMA, "hidden_act": "gelu"}), here, "Q8_0")
    assert (told.answer, "hidden_act" in told.reason) == ("no", True)
    warned = {**LLAMA, "model_type": "mistral", "sliding_window": 64, "max_position_embeddings": 512}
    told = backend("gguf").check(described(warned), here, "Q8_0")
    assert (told.answer, "64 tokens" in told.reason) == ("but", True)


def test_how_yarn_scales_attention_is_written_where_libllama_would_take_its_own(tmp_path):
    """Its own is 0.1 ln(factor) + 1; `attn_factor` is multiplied with that."""
    own = 0.1 * math.log(4.0) + 1
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "rope_theta": 10000.0}
    folder = changed("llama", tmp_path, rope_parameters={**rope, "attention_factor": 0.8})
    made = make_base(folder, tmp_path, lambda _event: None, name="m").path
    assert read_header(made).metadata["llama.rope.scaling.attn_factor"] == pytest.approx(0.8 / own)
    assert ignored.attention_factor({"rope_parameters": rope}) is None
    assert ignored.attention_factor({"rope_parameters": {**rope, "attention_factor": own}}) is None
    both = {**rope, "mscale": 0.7, "mscale_all_dim": 1.0}
    assert ignored.attention_factor({"rope_parameters": both}) == pytest.approx((0.07 * math.log(4) + 1) / own**2)
