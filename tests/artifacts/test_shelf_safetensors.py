"""Folders of quantized safetensors that others made are found, named by their method, and read as artifacts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lqmf import workspace
from lqmf.artifacts import shelf as artifacts
from tests.fixtures_gguf import DEMO
from tests.fixtures_safetensors import OLD_WEIGHTS, demo_folder


def dropped(shelf: Path, kind: str, name: str | None = None) -> Path:
    return Path(shutil.copytree(demo_folder(kind), shelf / (name or kind)))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("gptq", ("gptq", 4, "")),
        ("auto_gptq", ("gptq", 4, "")),
        ("nf4", ("bnb", 4, "nf4")),
        ("fp4", ("bnb", 4, "fp4")),
        ("int8", ("bnb", 8, "int8")),
    ],
)
def test_a_quantized_folder_is_found_by_what_its_configuration_says(tmp_path, kind, said):
    folder = dropped(tmp_path, kind)
    (found,) = artifacts.discover(tmp_path)
    assert (found.method, found.bits, found.type) == said
    assert (found.name, found.path, found.foreign) == (kind, str(folder), True)
    assert found.size_bytes == sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert artifacts.find(str(folder), []) == artifacts.find(kind, [found]) == found
    assert artifacts.paths(found) == [folder]


def test_autoawqs_folders_are_found_in_both_layouts(tmp_path):
    """The weights of another method, called AWQ: what is found is read off the configuration alone."""
    new, old = dropped(tmp_path, "gptq", "new"), dropped(tmp_path, "auto_gptq", "old")
    config = json.loads((new / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}
    (new / "config.json").write_text(json.dumps(config))
    (new / "quantize_config.json").unlink(missing_ok=True)
    (old / "quantize_config.json").unlink()
    (old / "quant_config.json").write_text('{"w_bit": 4, "q_group_size": 128, "zero_point": true, "version": "GEMM"}')
    assert {(a.name, a.method, a.bits) for a in artifacts.discover(tmp_path)} == {("new", "awq", 4), ("old", "awq", 4)}


def test_a_model_that_is_not_quantized_or_not_readable_is_no_artifact(tmp_path):
    shutil.copytree(DEMO, tmp_path / "source")
    broken = dropped(tmp_path, "nf4", "broken")
    (broken / "config.json").write_text("{")
    eight = dropped(tmp_path, "nf4", "fp8")
    config = json.loads((eight / "config.json").read_text()) | {"quantization_config": {"quant_method": "fp8"}}
    (eight / "config.json").write_text(json.dumps(config))
    assert artifacts.discover(tmp_path) == []


def test_folders_one_deeper_are_found_beside_ggufs(tmp_path):
    dropped(tmp_path / "org", "nf4", "one")
    dropped(tmp_path / "org", "auto_gptq", "two")
    assert {a.name for a in artifacts.discover(tmp_path)} == {"one", "two"}


def test_weights_that_are_not_there_leave_the_folder_out_with_a_word(tmp_path):
    folder = dropped(tmp_path, "auto_gptq")
    (folder / OLD_WEIGHTS).write_bytes(b"")
    (folder / "other.safetensors").write_bytes(b"")
    told: list[str] = []
    assert artifacts.discover(tmp_path, told.append) == []
    assert len(told) == 1


def test_a_receipt_beside_it_is_kept_while_the_weights_are_the_same(tmp_path):
    folder = dropped(tmp_path, "nf4")
    size = artifacts.foreign(folder).size_bytes
    workspace.write_json(artifacts.receipt_path(folder), {"size_bytes": size, "perplexity": 9.0})
    (found,) = artifacts.discover(tmp_path)
    assert found.receipt == {"size_bytes": size, "perplexity": 9.0}
    workspace.write_json(artifacts.receipt_path(folder), {"size_bytes": size + 1})
    assert artifacts.discover(tmp_path)[0].receipt is None
