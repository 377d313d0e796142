"""What the names of tensors tell is said in one sentence, with the way out, before the converter is asked."""

from __future__ import annotations

import pytest

from lqmf.errors import IncompleteModel, LqmfError, UnsupportedModel
from lqmf.quantization.gguf.converter.compat import further_ends, unsaid_windows
from lqmf.quantization.gguf.converter.tensor_names import refuse
from tests.architectures import families

LLAMA = {"model_type": "llama", "num_hidden_layers": 2}
GPTQ = {**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 4}}


def layers(count: int, *ends: str) -> list[str]:
    parts = ends or ("mlp.up_proj.weight", "input_layernorm.weight")
    return ["lm_head.weight", *(f"model.layers.{n}.{part}" for n in range(count) for part in parts)]


@pytest.mark.parametrize(
    ("config", "tensors", "error", "says"),
    [
        (LLAMA, layers(1), IncompleteModel, "2 layers, its weights have 1"),
        (LLAMA, layers(3), UnsupportedModel, "2 layers, its weights have 3"),
        (LLAMA, layers(2, "q.weight", "q.scales", "q.biases"), UnsupportedModel, "by MLX"),
        (
            {**LLAMA, "quantization": {"bits": 4}},
            layers(2, "q.scales", "q.biases"),
            UnsupportedModel,
            r"MLX \(4 bits\)",
        ),
        (LLAMA, layers(2, "q.weight", "q.SCB"), UnsupportedModel, "bitsandbytes, though config.json does not say so"),
        (LLAMA, layers(2, "q.weight", "q.weight.absmax"), UnsupportedModel, "bitsandbytes"),
        (GPTQ, layers(2, "q.qweight", "q.scales"), UnsupportedModel, "without g_idx"),
    ],
)
def test_what_the_converter_would_trip_over_is_told(config, tensors, error: type[LqmfError], says):
    with pytest.raises(error, match=says) as caught:
        refuse("m", config, tensors)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("config", "tensors"),
    [
        (LLAMA, layers(2)),
        (GPTQ, layers(2, "q.qweight", "q.g_idx", "q.scales")),
        ({**LLAMA, "num_nextn_predict_layers": 1}, layers(3)),
        ({"model_type": "gemma3", "text_config": LLAMA}, [*layers(2), "vision_tower.layers.26.weight"]),
        ({"model_type": "x"}, layers(5)),
    ],
)
def test_what_it_reads_is_let_through(config, tensors):
    refuse("m", config, tensors)


@pytest.mark.parametrize("name", [name for name in families.NAMES if name != families.CHATGLM])
def test_no_family_of_the_matrix_is_refused_for_its_names(name):
    from lqmf.model_files import safetensors_header

    refuse(name, families.config(name), [one.name for one in safetensors_header.tensors(families.folder(name))])


def test_which_layers_have_windows_is_said_where_libllama_would_take_others():
    sliding, whole = "sliding_attention", "full_attention"
    usual = [sliding] * 5 + [whole]
    assert unsaid_windows("gemma3", {"layer_types": usual * 2}) is None
    assert unsaid_windows("gemma3", {"layer_types": [sliding, whole]}) == [True, False]
    assert unsaid_windows("gpt-oss", {"layer_types": [sliding, whole] * 3}) is None
    assert unsaid_windows("gpt-oss", {"layer_types": [sliding, sliding]}) == [True, True]
    assert unsaid_windows("gpt-oss", {"layer_types": [whole, whole]}) is None  # libllama would abort; it is refused
    assert unsaid_windows("llama", {"layer_types": [sliding, whole]}) is None
    assert unsaid_windows("gemma3", {}) is None


def test_further_ends_are_those_that_no_name_tells_libllama():
    words = ["<s>", "</s>", "<|eot_id|>", "a", "<turn_over>"]
    assert further_ends([[1, 4], 4], 1, words) == [4]
    assert further_ends([[1, 2]], 1, words) == []
    assert further_ends([None, 1, [99]], 1, words) == []
