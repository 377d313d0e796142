"""The transformers engine says what the model says, runs what others made of it, and refuses what must not be run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.engines.promise import Sampling
from lqmf.engines.registry import open_artifact, open_engine
from lqmf.engines.transformers import loading
from lqmf.engines.transformers.engine import TransformersEngine
from lqmf.errors import IncompleteModel, NotBuilt, RemoteCodeRefused, UnsafeFormat, UnsupportedModel, UsageError
from lqmf.quality.receipt.divergence import pair
from tests.fixtures_gguf import DEMO, EVALUATION, demo_gguf
from tests.fixtures_safetensors import OLD_WEIGHTS, demo_folder

pytestmark = pytest.mark.slow

WORDS = EVALUATION.read_text(encoding="utf-8")[:6_000]
QUESTION = [{"role": "user", "content": "What is a tuple?"}]


@pytest.fixture(scope="module")
def engine() -> Iterator[TransformersEngine]:
    with TransformersEngine(DEMO) as opened:
        yield opened


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaCppEngine]:
    with LlamaCppEngine(demo_gguf("F16")) as opened:
        yield opened


def copied(folder: Path, **changes) -> Path:
    """The demo model with keys of its config.json changed."""
    shutil.copytree(DEMO, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def mean_kl(p: np.ndarray, q: np.ndarray) -> float:
    return float(pair(p, q, np.zeros(len(p), dtype=np.int64)).kl_nats.mean())


# ---------------------------------------------------------------- the same model as llama.cpp's


def test_it_knows_the_model_and_says_why_it_runs_as_it_does(engine):
    assert engine.name.startswith("transformers 5.")
    assert (engine.vocabulary, engine.context_length, engine.device, engine.dtype) == (4096, 2048, "cpu", "float32")
    assert "float32" in engine.reason


@pytest.mark.parametrize("text", [WORDS, " naïve 🚀 \t\n\n 12 end", "<|endoftext|>", "a<|endoftext|>b", "", "\ud800"])
@pytest.mark.parametrize("special", [False, True])
def test_a_text_is_the_same_tokens_as_in_llama_cpp(engine, llama, text, special):
    assert engine.tokenize(text, special=special, bos=True) == llama.tokenize(text, special=special, bos=True)


def test_a_template_gives_the_same_prompt(engine, llama):
    assert engine.render(QUESTION) == llama.render(QUESTION)
    assert [t for t in range(engine.vocabulary) if engine.ends(t)] == [t for t in range(4096) if llama.ends(t)]


def test_both_engines_predict_the_same(engine, llama):
    """float32 here, F16 there: what is left is rounding, a hundredth of what 8 bits would do."""
    window = engine.tokenize(WORDS)[:256]
    (here,), (there,) = engine.logits([window], first=128), llama.logits([window], first=128)
    assert here.shape == there.shape == (128, 4096)
    assert mean_kl(there, here) < 2e-6
    assert (here.argmax(-1) == there.argmax(-1)).mean() > 0.99


def test_a_part_of_a_windows_logits_is_the_end_of_all(engine):
    (whole,), (part,) = engine.logits([[1, 2, 3, 4]]), engine.logits([[1, 2, 3, 4]], first=3)
    assert np.allclose(whole[3:], part, atol=1e-4)
    assert part.flags.owndata


@pytest.mark.parametrize(("window", "first"), [([], 0), ([1], 1), ([1], -1), ([1] * 2049, 0), ([4096], 0), ([-1], 0)])
def test_a_window_that_cannot_be_scored_is_a_usage_error(engine, window, first):
    with pytest.raises(UsageError):
        list(engine.logits([window], first=first))


def test_a_stream_never_shows_half_a_character(engine):
    """Every byte-level token of an emoji on its own: shown when the last one is there."""
    tokens = engine.tokenize("naïve 🚀 code")
    words = engine._tokens.words(engine.tokenize("It is"))
    shown = [words.feed(token) for token in tokens]
    assert "".join([*shown, words.finish()]) == "naïve 🚀 code"
    assert not any("\ufffd" in piece for piece in shown)
    assert "" in shown


def test_a_prompt_that_fills_the_context_gives_one_token_and_a_longer_one_is_refused(engine):
    assert len(list(engine.generate([5] * 2048, Sampling(max_tokens=9)))) <= 2
    with pytest.raises(UsageError, match="context"):
        list(engine.generate([5] * 2049, Sampling()))


def test_a_shorter_context_is_kept_and_a_longer_one_than_trained_refused():
    with TransformersEngine(DEMO, context=64) as short:
        assert short.context_length == 64
    with pytest.raises(UsageError, match="2048"):
        TransformersEngine(DEMO, context=4096)


def test_a_gpu_that_is_not_there_is_a_usage_error():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(UsageError, match="GPU"):
        TransformersEngine(DEMO, device="gpu")


def test_a_closed_engine_says_so():
    opened = TransformersEngine(DEMO)
    opened.close()
    with pytest.raises(UsageError, match="closed"):
        list(opened.logits([[1, 2]]))


def test_weights_over_the_memory_limit_are_read_from_the_disk_and_give_the_same(engine):
    window = engine.tokenize(WORDS)[:64]
    with TransformersEngine(DEMO, memory_bytes=8_000_000) as tight:
        assert "disk" in tight.reason
        assert "disk" in set(tight._model.hf_device_map.values())
        scratch = Path(tight._scratch.name)
        (limited,) = tight.logits([window])
        said = "".join(piece.text for piece in tight.generate("A list is", Sampling(max_tokens=4)))
    assert said
    assert not scratch.exists()
    (whole,) = engine.logits([window])
    assert mean_kl(whole, limited) < 1e-3  # bfloat16 as stored against float32


# ---------------------------------------------------------------- artifacts of both methods


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8", "gptq", "auto_gptq"])
def test_an_artifact_runs_and_is_near_its_source(engine, kind):
    window = engine.tokenize(WORDS)[:256]
    with open_engine(demo_folder(kind), device="cpu") as quantized:
        assert quantized.tokenize(WORDS) == engine.tokenize(WORDS)
        assert quantized.render(QUESTION) == engine.render(QUESTION)
        (theirs,) = quantized.logits([window], first=128)
        assert "".join(piece.text for piece in quantized.generate("A list is", Sampling(max_tokens=4)))
    (ours,) = engine.logits([window], first=128)
    assert 1e-6 < mean_kl(ours, theirs) < {"int8": 0.002, "fp4": 0.05}.get(kind, 0.03)


def in_fp8(folder: Path) -> Path:
    """The demo model as DeepSeek publishes theirs: E4M3 in blocks of 128 x 128, each with the inverse of its scale."""
    import torch
    from safetensors.torch import load_file, save_file

    stored = {}
    for name, weight in load_file(DEMO / "model.safetensors").items():
        if "proj" not in name:
            stored[name] = weight
            continue
        blocks = weight.float().reshape(weight.shape[0] // 128, 128, weight.shape[1] // 128, 128)
        scales = blocks.abs().amax((1, 3), keepdim=True) / 448
        stored[name] = (blocks / scales).reshape(weight.shape).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"] = scales[:, 0, :, 0].contiguous()
    told = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic", "fmt": "e4m3"}
    copied(folder, quantization_config=told)
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_a_source_in_fp8_is_widened_where_nothing_computes_in_it(engine, tmp_path):
    window = engine.tokenize(WORDS)[:256]
    with open_engine(in_fp8(tmp_path / "a"), device="cpu") as eight:
        (theirs,) = eight.logits([window], first=128)
    (ours,) = engine.logits([window], first=128)
    assert 1e-6 < mean_kl(ours, theirs) < 0.03


def test_auto_gptqs_old_layout_gives_what_the_new_one_gives():
    assert (demo_folder("auto_gptq") / OLD_WEIGHTS).is_file()
    assert "quantization_config" not in json.loads((demo_folder("auto_gptq") / "config.json").read_text())
    with open_engine(demo_folder("gptq")) as new, open_engine(demo_folder("auto_gptq")) as old:
        (one,), (other,) = new.logits([[1, 2, 3]]), old.logits([[1, 2, 3]])
    assert np.array_equal(one, other)


def test_llama_cpps_own_settings_in_a_manifest_are_passed_over(tmp_path):
    folder = copied(tmp_path / "a")
    (folder / "manifest.json").write_text('{"run": {"context": 128, "k_type": "f16", "ubatch": 512, "gpu_layers": 0}}')
    with open_artifact(folder, device="cpu") as opened:
        assert opened.context_length == 128


@pytest.mark.parametrize("kind", ["nf4", "gptq"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch, kind):
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotBuilt) as caught:
        open_engine(demo_folder(kind))
    assert "pip install" in caught.value.remedy
    assert ("gptq" if kind == "gptq" else "bnb") in caught.value.remedy


# ---------------------------------------------------------------- refusals


def test_pickled_weights_are_never_opened(tmp_path):
    folder = copied(tmp_path / "a")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(UnsafeFormat, match="pickled"):
        open_engine(folder)


def test_a_pickle_beside_safetensors_is_left_alone(tmp_path):
    folder = copied(tmp_path / "a", transformers_weights="adapter_model.bin")
    (folder / "adapter_model.bin").write_bytes(b"not even a pickle")
    with open_engine(folder) as opened:
        assert opened.vocabulary == 4096


def test_a_models_own_python_is_not_run_unless_allowed(tmp_path):
    folder = copied(tmp_path / "a", model_type="mine", auto_map={"AutoConfig": "configuration_mine.MineConfig"})
    marker = tmp_path / "it ran"
    (folder / "configuration_mine.py").write_text(
        f"open({str(marker)!r}, 'w').close()\n"
        "from transformers import LlamaConfig\n\n\nclass MineConfig(LlamaConfig):\n    model_type = 'mine'\n"
    )
    with pytest.raises(RemoteCodeRefused):
        TransformersEngine(folder)
    assert not marker.exists()
    with pytest.raises(UnsupportedModel):  # its configuration is run now, and brings no model with it
        TransformersEngine(folder, allow_remote_code=True)
    assert marker.exists()


def test_code_that_is_not_needed_is_neither_run_nor_refused(tmp_path):
    folder = copied(tmp_path / "a", auto_map={"AutoModelForCausalLM": "modeling_mine.Mine"})
    (folder / "modeling_mine.py").write_text("raise SystemExit('it ran')\n")
    with TransformersEngine(folder) as opened:
        assert opened.vocabulary == 4096


@pytest.mark.parametrize("made", ["BertForMaskedLM", "T5ForConditionalGeneration"])
def test_what_continues_no_text_is_refused(tmp_path, made):
    with pytest.raises(UnsupportedModel, match=made):
        open_engine(copied(tmp_path / "a", architectures=[made]))


def test_an_architecture_that_transformers_does_not_know_is_named(tmp_path):
    with pytest.raises(UnsupportedModel, match="hal9000"):
        open_engine(copied(tmp_path / "a", model_type="hal9000", architectures=["HalForCausalLM"]))


@pytest.mark.parametrize("keep", [0.5, 0.0001])
def test_a_file_that_is_cut_short_is_incomplete(tmp_path, keep):
    folder = copied(tmp_path / "a")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises((IncompleteModel, UnsafeFormat)):
        open_engine(folder)


def test_a_tensor_that_is_missing_is_not_made_up(tmp_path):
    """transformers would fill it with random numbers and a warning."""
    from safetensors.torch import load_file, save_file

    folder = copied(tmp_path / "a")
    tensors = load_file(folder / "model.safetensors")
    gone = tensors.pop("model.layers.3.mlp.down_proj.weight")
    assert gone.numel()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(IncompleteModel, match=r"model.layers.3.mlp.down_proj.weight"):
        open_engine(folder)


def test_a_folder_without_a_tokenizer_is_incomplete(tmp_path):
    folder = copied(tmp_path / "a")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(IncompleteModel, match="tokenizer"):
        open_engine(folder)
