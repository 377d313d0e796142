"""A LoRA adapter merged on the way gives what merging it into the weights first gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import IncompleteModel, LqmfError, UnsupportedModel, UsageError
from lqmf.quantization.gguf.converter import adapter
from lqmf.quantization.gguf.stream.pipeline import Output
from tests.quantization import models, stream_peer
from tests.quantization.models import FAMILIES
from tests.quantization.test_gguf_stream import random_model, streamed

pytestmark = pytest.mark.slow  # the converter runs, or models are made

RANK, ALPHA = 4, 12
MODULES = {"model.layers.0.self_attn.q_proj": (256, 256), "model.layers.1.mlp.down_proj": (256, 512)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapted")
    (folder / "tokenizer").mkdir()
    models._TOKENIZERS["sentencepiece"](folder / "tokenizer")
    return random_model(FAMILIES["llama"], folder / "model", folder / "tokenizer")


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """A folder as PEFT saves it."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "lora"
    folder.mkdir()
    torch.manual_seed(1)
    weights = {}
    for name, (outputs, inputs) in MODULES.items():
        weights[f"base_model.model.{name}.lora_A.weight"] = torch.randn(RANK, inputs) * 0.1
        weights[f"base_model.model.{name}.lora_B.weight"] = torch.randn(outputs, RANK) * 0.1
    save_file(weights, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "alpha_pattern": {"down_proj": 2}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_merged_on_the_way_is_merged_before(model: Path, lora: Path, tmp_path: Path) -> None:
    """The other way round: the weights merged by hand in a copy of the model, which is then streamed plainly."""
    import shutil

    from safetensors.torch import load_file, save_file

    merged = shutil.copytree(model, tmp_path / "merged")
    weights, halves = load_file(merged / "model.safetensors"), load_file(lora / "adapter_model.safetensors")
    for name, alpha in zip(MODULES, (ALPHA, 2), strict=True):
        a, b = (halves[f"base_model.model.{name}.lora_{half}.weight"] for half in "AB")
        weights[f"{name}.weight"] = weights[f"{name}.weight"].float() + (b @ a) * (alpha / RANK)
    save_file(weights, merged / "model.safetensors", metadata={"format": "pt"})
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    streamed(model, [Output(ours, "Q4_K_M")], tmp_path / "scratch", "m", adapter=lora)
    streamed(merged, [Output(theirs, "Q4_K_M")], tmp_path / "scratch", "m")
    assert stream_peer.data(ours) == stream_peer.data(theirs)


def test_an_adapter_of_another_model_is_refused(model: Path, lora: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = lora / "adapter_model.safetensors"
    save_file({name.replace("layers.1", "layers.9"): tensor for name, tensor in load_file(path).items()}, path)
    with pytest.raises(UsageError, match=r"no model\.layers\.9\.mlp\.down_proj"):
        streamed(model, [Output(tmp_path / "x.gguf", "Q4_K_M")], tmp_path / "scratch", "m", adapter=lora)


def edit(**changes: Any) -> Callable[[Path], None]:
    def edited(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edited


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (edit(use_dora=True), UnsupportedModel, "use_dora"),
        (edit(peft_type="LOHA"), UnsupportedModel, "peft_type is LOHA"),
        (edit(modules_to_save=["lm_head"]), UnsupportedModel, "modules_to_save"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), IncompleteModel, "not valid JSON"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), IncompleteModel, "adapter_model"),
    ],
)
def test_what_is_no_plain_lora_is_refused_by_name(
    lora: Path, spoil: Callable[[Path], Any], error: type[LqmfError], says: str
) -> None:
    spoil(lora)
    with pytest.raises(error, match=says):
        adapter.check(lora)


def test_scale_follows_the_configuration(lora: Path) -> None:
    plain = adapter.pairs(lora)
    assert plain["model.layers.0.self_attn.q_proj.weight"].scale == ALPHA / RANK
    assert plain["model.layers.1.mlp.down_proj.weight"].scale == 2 / RANK
    edit(use_rslora=True)(lora)
    assert adapter.pairs(lora)["model.layers.0.self_attn.q_proj.weight"].scale == ALPHA / RANK**0.5
