"""A folder of safetensors says how it is quantized, in every layout, and how many bits a weight takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import IncompleteModel, UnsafeFormat
from lqmf.model_files import safetensors_folder, safetensors_header
from tests.fixtures_gguf import DEMO
from tests.fixtures_safetensors import demo_folder


def folder(place: Path, config: dict[str, Any], beside: dict[str, dict[str, Any]] | None = None) -> Path:
    place.mkdir(exist_ok=True)
    for name, document in {"config.json": config, **(beside or {})}.items():
        (place / name).write_text(json.dumps(document))
    return place


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"quant_method": "gptq", "bits": 3, "group_size": 64}, ("gptq", 3, "", 64)),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, ("gptq", 8, "", None)),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ("awq", 4, "", 128)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, ("bnb", 4, "nf4", None)),
        ({"quant_method": "bitsandbytes", "_load_in_4bit": True}, ("bnb", 4, "fp4", None)),
        ({"load_in_8bit": True}, ("bnb", 8, "int8", None)),
        ({"quant_method": "fp8"}, ("fp8", 8, "", None)),
        ({"quant_method": "mxfp4"}, ("mxfp4", 4, "", None)),
    ],
)
def test_a_configuration_is_read_in_lqmfs_words(tmp_path, told, said):
    found = safetensors_folder.scheme(folder(tmp_path / "a", {"quantization_config": told}))
    assert found is not None
    assert (found.method, found.bits, found.type, found.group) == said


def test_the_files_that_auto_gptq_and_autoawq_left_are_read_too(tmp_path):
    old = {"quantize_config.json": {"bits": 4, "group_size": 32, "desc_act": False}}
    gptq = safetensors_folder.scheme(folder(tmp_path / "a", {}, old))
    awq = safetensors_folder.scheme(folder(tmp_path / "b", {}, {"quant_config.json": {"w_bit": 4, "q_group_size": 64}}))
    assert gptq is not None
    assert awq is not None
    assert (gptq.method, gptq.bits, gptq.group) == ("gptq", 4, 32)
    assert gptq.told["quant_method"] == "gptq"
    assert (awq.method, awq.bits, awq.group) == ("awq", 4, 64)


def test_what_is_not_quantized_has_no_scheme_and_a_broken_file_says_so(tmp_path):
    assert safetensors_folder.scheme(DEMO) is None
    with pytest.raises(IncompleteModel, match=r"no config.json"):
        safetensors_folder.scheme(tmp_path)
    for broken in ("{", "[]"):
        (tmp_path / "config.json").write_text(broken)
        with pytest.raises(IncompleteModel, match=r"config.json"):
            safetensors_folder.scheme(tmp_path)


def test_all_weights_are_counted_whatever_holds_them():
    """The same model in four forms has the same number of weights."""
    kinds = {"source": DEMO, **{kind: demo_folder(kind) for kind in ("nf4", "int8", "gptq", "auto_gptq")}}
    found = {name: safetensors_folder.stored(path) for name, path in kinds.items()}
    assert {each.parameters for each in found.values()} == {7_344_384}
    assert found["source"].bits_per_weight == 16
    bits = [found[name].bits_per_weight for name in ("nf4", "gptq", "int8", "source")]
    assert bits == sorted(bits)
    assert found["nf4"].method == "bnb"
    assert {each.dtype for each in found.values()} <= {"bfloat16", "float16"}


def test_places_of_matrices_are_where_the_bytes_are(tmp_path):
    """Read back at those places, the tensors are those that the library reads."""
    import torch
    from safetensors import safe_open

    with safe_open(DEMO / "model.safetensors", "pt") as file:
        for tensor, path, begin in list(safetensors_folder.matrices(DEMO))[:5]:
            whole = path.read_bytes()[begin : begin + tensor.size_bytes]
            assert whole == file.get_tensor(tensor.name).contiguous().view(torch.uint8).numpy().tobytes()


def test_zero_points_may_be_zero_and_are_no_matrices():
    names = {tensor.name.rpartition(".")[2] for tensor, _, _ in safetensors_folder.matrices(demo_folder("gptq"))}
    assert "qweight" in names
    assert "qzeros" not in names


def test_pickles_alone_are_refused(tmp_path):
    folder(tmp_path, {})
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UnsafeFormat):
        safetensors_header.weights(tmp_path)
