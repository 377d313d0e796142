"""Hostile and broken models: nothing that comes with a model is run or unpickled, nothing outside it is read."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from lqmf import forks
from lqmf.errors import IncompleteModel, LqmfError, RemoteCodeRefused, UnsafeFormat, UnsupportedModel
from lqmf.model_files import safetensors_header
from tests.quantization.bases import make_base

pytestmark = pytest.mark.slow  # the converter runs, or models are made

DEMO = Path(str(resources.files("lqmf").joinpath("assets/demo")))
HOSTILE = """
from pathlib import Path
Path({mark!r}).write_text("ran")
from transformers import LlamaConfig, PreTrainedTokenizerFast
class HostileConfig(LlamaConfig):
    model_type = "hostile"
class HostileTokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the demo, to be spoilt."""
    return Path(shutil.copytree(DEMO, tmp_path / "model"))


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that appears when code that came with the model has run."""
    return tmp_path / "mark"


def edit(path: Path, **changes: Any) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, **changes}), encoding="utf-8")


def make_hostile(model: Path, mark: Path, *, needs_code: bool) -> None:
    """Add code that leaves a mark, and ask for it; `needs_code`: there is no other way to load the tokenizer."""
    (model / "hostile.py").write_text(HOSTILE.format(mark=str(mark)), encoding="utf-8")
    edit(model / "config.json", auto_map={"AutoConfig": "hostile.HostileConfig"})
    auto = {"auto_map": {"AutoTokenizer": [None, "hostile.HostileTokenizer"]}}
    name = {"tokenizer_class": "HostileTokenizer"} if needs_code else {}
    edit(model / "tokenizer_config.json", **auto, **name)


def converted(model: Path, *, allow_remote_code: bool = False) -> Path:
    scratch = model.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    made = make_base(model, scratch, lambda _event: None, name="m", allow_remote_code=allow_remote_code)
    return made.path


def test_code_that_comes_with_a_model_is_not_run(model: Path, mark: Path) -> None:
    """Where the model can do without it, conversion goes on."""
    make_hostile(model, mark, needs_code=False)
    assert converted(model).stat().st_size > 10_000_000
    assert not mark.exists()


def test_a_model_that_cannot_do_without_its_code_is_refused(model: Path, mark: Path) -> None:
    make_hostile(model, mark, needs_code=True)
    with pytest.raises(RemoteCodeRefused):
        converted(model)
    assert not mark.exists()


def test_the_code_would_have_run_had_the_user_allowed_it(model: Path, mark: Path) -> None:
    """So that the two tests above prove something."""
    make_hostile(model, mark, needs_code=True)
    assert converted(model, allow_remote_code=True).exists()
    assert mark.read_text() == "ran"


def test_pickled_weights_are_never_opened(model: Path, mark: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return Path.write_text, (mark, "ran")

    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnsafeFormat, match="pickled"):
        converted(model)
    assert not mark.exists()


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/secret.safetensors"])
def test_an_index_that_points_elsewhere_is_refused(model: Path, shard: str) -> None:
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": shard}}))
    with pytest.raises(UnsafeFormat, match="leads out"):
        converted(model)


def test_only_the_weights_that_are_the_models_are_converted(model: Path) -> None:
    """The converter takes whatever is called model*.safetensors, and the last file wins; here a stale index, a shard of
    another save and a file of averages lie beside the model."""
    before = converted(model).read_bytes()
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1000:] = bytes(1000)
    for name in ("model_ema.safetensors", "model-00002-of-00002.safetensors"):
        (model / name).write_bytes(weights)
    (model / "model.safetensors.index.json").write_text(SHARDED)
    assert converted(model).read_bytes() == before


def test_an_index_may_name_a_tied_head_that_is_nowhere(model: Path) -> None:
    before = converted(model).read_bytes()
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    tensors = safetensors_header.read(model / "model-00001-of-00001.safetensors").tensors
    places = dict.fromkeys([*(tensor.name for tensor in tensors), "nowhere.weight"], "model-00001-of-00001.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert converted(model).read_bytes() == before


def spoil(file: str, text: str | None) -> Callable[[Path], None]:
    def spoiled(model: Path) -> None:
        (model / file).unlink() if text is None else (model / file).write_text(text, encoding="utf-8")

    return spoiled


SHARDED = json.dumps({"weight_map": {"x": "model-00001-of-00002.safetensors"}})


@pytest.mark.parametrize(
    ("spoilt", "error", "says"),
    [
        (spoil("config.json", None), IncompleteModel, "config.json"),
        (spoil("config.json", "{"), IncompleteModel, "not valid JSON"),
        (spoil("config.json", "[]"), IncompleteModel, "JSON object"),
        (spoil("config.json", "{}"), UnsupportedModel, "no architecture"),
        (spoil("config.json", '{"architectures": ["HalForCausalLM"]}'), UnsupportedModel, "HalForCausalLM"),
        (spoil("model.safetensors", None), IncompleteModel, "no weights"),
        (spoil("tokenizer.json", None), IncompleteModel, "no tokenizer"),
    ],
)
def test_what_is_missing_or_unknown_is_named_before_any_weight_is_read(
    model: Path, spoilt: Callable[[Path], None], error: type[LqmfError], says: str
) -> None:
    spoilt(model)
    with pytest.raises(error, match=says):
        converted(model)
    assert list((model.parent / "scratch").iterdir()) == []


@pytest.mark.parametrize("size", [0, 5, 100, 5_000_000])
def test_weights_that_break_off_are_refused_before_the_work(model: Path, size: int) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises((IncompleteModel, UnsafeFormat), match=r"model\.safetensors"):
        converted(model)


@pytest.mark.parametrize(
    "numbers",
    [{"num_hidden_layers": 10**7}, {"vocab_size": 10**12}, {"text_config": {"architectures": None, "n_layer": 10**9}}],
)
def test_a_config_with_numbers_that_fill_the_memory_is_refused_before_the_converter_starts(
    model: Path, numbers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "ask", None)
    edit(model / "config.json", **numbers)
    with pytest.raises(UnsupportedModel, match="a whole number from 1 to"):
        converted(model)
