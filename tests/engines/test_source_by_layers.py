"""A model that runs layer by layer from its shards predicts as the whole model does, and holds one layer at a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lqmf.engines.transformers import source_by_layers
from lqmf.engines.transformers.source_by_layers import LayeredSource
from lqmf.errors import DoesNotFit, IncompleteModel, UnsupportedModel
from tests.architectures import families
from tests.fixtures_gguf import DEMO
from tests.fixtures_safetensors import demo_folder

pytestmark = pytest.mark.slow

FIRST = 40


def windows(folder: Path, length: int = 96) -> list[list[int]]:
    words = json.loads((folder / "config.json").read_text())["vocab_size"]
    drawn: list[list[int]] = np.random.default_rng(0).integers(5, words, (2, length)).tolist()
    return drawn


def whole(folder: Path, read: list[list[int]]) -> np.ndarray:
    """The same logits by the whole model, loaded as transformers does."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        found: np.ndarray = model(input_ids=torch.tensor(read), use_cache=False).logits[:, FIRST:].numpy()
    return found


@pytest.mark.parametrize("name", families.DECODERS)
def test_every_family_predicts_as_the_whole_model_does(name):
    """Whatever is particular to it: joined experts, sliding windows, a tied head, a state instead of attention."""
    folder = families.folder(name)
    read = windows(folder)
    with LayeredSource(folder) as source:
        found = source.logits(read, first=FIRST)
    assert np.abs(found - whole(folder, read)).max() < 1e-5


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_a_large_embedding_is_read_by_rows_and_a_head_in_pieces(name, monkeypatch):
    monkeypatch.setattr(source_by_layers, "_LARGE_TABLE", 1000)
    monkeypatch.setattr(source_by_layers, "_HEAD_ROWS", 300)
    folder = families.folder(name)
    read = windows(folder)
    with LayeredSource(folder) as source:
        found = source.logits(read, first=FIRST)
    assert np.abs(found - whole(folder, read)).max() < 1e-4


def test_when_a_layer_is_through_its_weights_are_gone():
    folder, held = families.folder("qwen3-moe"), list[int]()
    with LayeredSource(folder) as source:

        def look(through: int, layers: int) -> None:
            assert layers == families.LAYERS
            held.append(sum(weight.numel() for weight in source._model.parameters() if not weight.is_meta))

        source.logits(windows(folder), report=look)
    assert held == [0, 0]


def test_what_the_report_raises_ends_the_pass():
    class Enough(Exception):
        pass

    def stop(through: int, layers: int) -> None:
        raise Enough

    folder = families.folder("llama")
    with LayeredSource(folder) as source:
        with pytest.raises(Enough):
            source.logits(windows(folder), report=stop)
        assert source.logits(windows(folder), first=FIRST).shape == (2, 96 - FIRST, source.vocabulary)


def test_shards_are_read_where_the_index_says(tmp_path):
    """As the tensors come from several files, and none from one that the index does not name."""
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(families.folder("llama"), tmp_path / "model"))
    tensors, names = load_file(folder / "model.safetensors"), ["model-00001-of-00002", "model-00002-of-00002"]
    places = {tensor: f"{names[place % 2]}.safetensors" for place, tensor in enumerate(tensors)}
    for name in names:
        own = {tensor: each for tensor, each in tensors.items() if places[tensor] == f"{name}.safetensors"}
        save_file(own, folder / f"{name}.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").unlink()
    save_file({tensor: each * 0 for tensor, each in tensors.items()}, folder / "model-00003-of-00003.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    read = windows(folder)
    with LayeredSource(folder) as source:
        found = source.logits(read, first=FIRST)
    assert np.abs(found - whole(families.folder("llama"), read)).max() < 1e-5


def test_a_tensor_that_is_missing_is_named(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(families.folder("llama"), tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IncompleteModel, match=r"layers\.1\.mlp\.up_proj"):
        LayeredSource(folder)


def test_quantized_weights_are_refused():
    with pytest.raises(UnsupportedModel, match="quantized already"):
        LayeredSource(demo_folder("nf4"))


def test_a_layer_without_room_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(source_by_layers, "_ROOM", 1e-9)
    with pytest.raises(DoesNotFit, match="One layer"):
        LayeredSource(DEMO)
