"""What a converted tokenizer lacks against the model's own is mended, told or refused before any weight is read."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lqmf.errors import UnsupportedModel
from lqmf.model_files.gguf_header import GgufHeader, read_header
from lqmf.quantization.gguf.converter import compat, convert, launcher, probe_lines, toolchain
from lqmf.quantization.gguf.converter.tensor_names import lacks_prediction_layers
from tests.quantization import models

TOOLS = toolchain.ensure()
TEMPLATE = "{% for message in messages %}<s>{{ message['content'] }}</s>{% endfor %}"


def small(kind: str, folder: Path, rows: int, **config: Any) -> Path:
    """A model of transformers' class for `kind`, two layers of 64, whose embedding has `rows`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    asked = AutoConfig.for_model(kind, vocab_size=rows, num_key_value_heads=1, head_dim=32, **{**shape, **config})
    AutoModelForCausalLM.from_config(asked).save_pretrained(folder)
    return folder


def llama_json(folder: Path, **tokenizer: Any) -> int:
    """A tokenizer of Llama's kind as tokenizer.json alone, without the scores of tokenizer.model; how many tokens."""
    from tokenizers import Tokenizer, decoders, normalizers, trainers
    from tokenizers.models import BPE

    made = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    made.train_from_iterator(
        models.text()[:500], trainers.BpeTrainer(vocab_size=480, special_tokens=specials, show_progress=False)
    )
    said = json.loads(made.to_str())
    said["added_tokens"] = said["added_tokens"][:3]
    (folder / "tokenizer.json").write_text(json.dumps(said), encoding="utf-8")
    about = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "legacy": False, **tokenizer}
    (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")
    return len(said["model"]["vocab"])


def header(folder: Path, tmp_path: Path) -> tuple[GgufHeader, tuple[str, ...]]:
    """The header that the converter writes of the model in `folder`, and what there is to say of it."""
    made = convert.write_header(folder, tmp_path / "h.gguf", TOOLS, scratch=tmp_path, name="m")
    return read_header(made.path), made.notes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    return made


def test_ordinary_text_that_becomes_other_tokens_is_refused(folder: Path, tmp_path: Path) -> None:
    """transformers puts no space before a text that begins with one, libllama does."""
    small("llama", folder, llama_json(folder))
    with pytest.raises(UnsupportedModel, match="would read text as other tokens") as caught:
        header(folder, tmp_path)
    assert "tokenizer.model" in caught.value.remedy


def test_what_sentencepiece_itself_reads_is_no_other_token(folder: Path, tmp_path: Path) -> None:
    models.sentencepiece(folder)
    _, notes = header(small("llama", folder, models.VOCABULARY), tmp_path)
    assert not [note for note in notes if note.startswith(convert.DIFFERS)]


def test_tokens_without_a_row_are_named(folder: Path, tmp_path: Path) -> None:
    models.bpe(folder, [models._bytes(use_regex=True)])
    _, notes = header(small("llama", folder, models.VOCABULARY - 2), tmp_path)
    (note,) = notes
    assert f"has {models.VOCABULARY:,} tokens, the model's embedding {models.VOCABULARY - 2:,} rows" in note
    assert f"({models.VOCABULARY - 1})" in note


def test_the_tokenizers_file_that_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    models.bpe(folder, [models._bytes(use_regex=True)])
    _, (note,) = header(small("gemma2", folder, models.VOCABULARY), tmp_path)
    assert note.startswith(f"{convert.NO_TOKENIZER}llama.cpp's converter wants tokenizer.model")


def test_rows_beyond_the_tokens_are_kept(folder: Path, tmp_path: Path) -> None:
    models.bpe(folder, [models._bytes(use_regex=True)])
    found, _ = header(small("gemma3_text", folder, models.VOCABULARY + 64), tmp_path)
    (embedding,) = [tensor for tensor in found.tensors if tensor.name == "token_embd.weight"]
    assert embedding.shape == (64, models.VOCABULARY + 64)


def test_an_embedding_that_a_converter_padded_or_renamed_stays_as_it_made_it() -> None:
    import torch

    model = SimpleNamespace(model_tensors={"model.embed_tokens.weight": lambda: torch.ones(4, 2)})
    cut, padded = torch.ones(3, 2), torch.zeros(5, 2)
    assert launcher._uncut(model, cut, "model.embed_tokens.weight").shape == (4, 2)
    assert launcher._uncut(model, padded, "model.embed_tokens.weight") is padded
    assert launcher._uncut(model, cut, "language_model.embed_tokens.weight") is cut
    assert launcher._uncut(model, cut, "model.norm.weight") is cut


def test_the_template_is_the_one_that_transformers_takes(folder: Path, tmp_path: Path) -> None:
    models.bpe(folder, [models._bytes(use_regex=True)])
    about = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**about, "chat_template": "old"}), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    small("llama", folder, models.VOCABULARY)
    assert header(folder, tmp_path)[0].metadata["tokenizer.chat_template"] == TEMPLATE
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools", encoding="utf-8")
    said = header(folder, tmp_path)[0].metadata
    assert (said["tokenizer.chat_template"], said["tokenizer.chat_template.tool_use"]) == (TEMPLATE, "tools")


def test_prediction_layers_that_were_left_out_when_saving_are_left_out_of_the_file(
    folder: Path, tmp_path: Path
) -> None:
    models.bpe(folder, [models._bytes(use_regex=True)])
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "first_k_dense_replace": 1}
    small("glm4_moe", folder, models.VOCABULARY, num_nextn_predict_layers=1, **experts)
    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**about, "num_nextn_predict_layers": 1}), encoding="utf-8")
    found, notes = header(folder, tmp_path)
    assert found.metadata["glm4moe.block_count"] == 2
    assert convert.WITHOUT_PREDICTION in notes


@pytest.mark.parametrize(
    ("config", "tensors", "lacks"),
    [
        ({"num_hidden_layers": 2, "num_nextn_predict_layers": 1}, ["model.layers.0.a", "model.layers.1.a"], True),
        ({"num_hidden_layers": 2, "num_nextn_predict_layers": 1}, [f"model.layers.{n}.a" for n in range(3)], False),
        ({"num_hidden_layers": 1, "mtp_num_hidden_layers": 1}, ["model.layers.0.a", "mtp.layers.0.a"], False),
        ({"text_config": {"num_hidden_layers": 1, "mtp_num_hidden_layers": 1}}, ["model.layers.0.a"], True),
        ({"num_hidden_layers": 1, "num_nextn_predict_layers": 0}, ["model.layers.0.a"], False),
        ({"num_hidden_layers": 1}, ["model.layers.0.a"], False),
    ],
)
def test_which_models_lack_their_prediction_layers(config, tensors, lacks) -> None:
    assert lacks_prediction_layers(config, tensors) is lacks
    if lacks:
        assert not lacks_prediction_layers(compat.without_prediction_layers(config), tensors)


def test_scores_follow_the_order_of_the_merges() -> None:
    vocabulary = {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "bc": 5}
    said = compat.merge_scores(vocabulary, ["a b", ("ab", "c"), "b c", ("a", "bc")])
    assert said == {3: 0.0, 4: -1.0, 5: -2.0}


def test_letters_and_accents_are_taken_apart_where_there_are_any() -> None:
    assert list(probe_lines.decomposed(["plain", "é", "한"])) == ["e\u0301", "\u1112\u1161\u11ab"]
