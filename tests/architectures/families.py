"""A small model of each architecture family that LQMF speaks of, by transformers' own classes, with sharp weights.

Two layers each, of rows that K-quants divide. Decoders are made as `tests/quantization/models.py` makes them; encoders
and encoder-decoders have random weights scaled so that each layer counts. Kept for the machine, shared by workers:
nobody may change what `folder` gives. Knows transformers and tokenizers; nothing of LQMF's methods.
"""

from __future__ import annotations

import copy
import functools
import getpass
import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from tests.quantization import models
from tests.quantization.models import FAMILIES, HIDDEN, POSITIONS, VOCABULARY, Family

LAYERS = 2

_COMMON = {**models._COMMON, "num_hidden_layers": LAYERS}
_GROUPED = {**models._GROUPED, "num_hidden_layers": LAYERS}
_GPT2: Mapping[str, Any] = {**FAMILIES["gpt2"].config, "n_layer": LAYERS}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 256}


def _short(name: str) -> Family:
    """The family of the same name, of two layers."""
    family = FAMILIES[name]
    key = "n_layer" if "n_layer" in family.config else "num_hidden_layers"
    return replace(family, config={**family.config, key: LAYERS})


DECODERS: Mapping[str, Family] = {
    "gpt2": _short("gpt2"),
    "gpt-neo": Family(
        "gpt-neo",
        {
            "model_type": "gpt_neo", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_layers": LAYERS,
            "num_heads": 4, "intermediate_size": 512, "max_position_embeddings": POSITIONS, "window_size": 64,
            "attention_types": [[["global", "local"], 1]], "bos_token_id": 1, "eos_token_id": 2,
            "attention_dropout": 0.0, "embed_dropout": 0.0, "resid_dropout": 0.0,
        },
        "gpt2", layers="transformer.h", norm="transformer.ln_f", output="attn.attention.out_proj", rope=False,
    ),
    "llama": _short("llama"),
    "codellama": Family(  # a Llama by its class; its rope base and its length are its own
        "codellama",
        {
            "model_type": "llama", **_GROUPED, "max_position_embeddings": 16384,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        },
        "sentencepiece",
    ),
    "mistral": _short("mistral"),
    "dialogpt": Family("dialogpt", {**_GPT2, "n_head": 8}, "gpt2", layers="transformer.h", norm="transformer.ln_f",
                       output="attn.c_proj", transposed=True, rope=False),
    "glm": Family(
        "glm", {"model_type": "glm", **_GROUPED, "vocab_size": VOCABULARY + 64, "attention_bias": True}, "glm",
    ),
    "starcoder": Family(
        "starcoder",
        {
            "model_type": "gpt_bigcode", "vocab_size": VOCABULARY, "n_positions": POSITIONS, "n_embd": HIDDEN,
            "n_layer": LAYERS, "n_head": 4, "multi_query": True, "bos_token_id": 1, "eos_token_id": 2,
            "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
        },
        "starcoder", layers="transformer.h", norm="transformer.ln_f", output="attn.c_proj", rope=False,
    ),
    "qwen2": _short("qwen2"),
    "qwen3": _short("qwen3"),
    "qwen3-moe": Family(
        "qwen3-moe", {"model_type": "qwen3_moe", **_GROUPED, **_EXPERTS, "norm_topk_prob": True}, "qwen2"
    ),
    "gemma3": _short("gemma3"),
    "phi3": _short("phi3"),
    "gpt-oss": Family(
        "gpt-oss",
        {
            "model_type": "gpt_oss", **_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 64,
            "rope_parameters": {"rope_type": "default", "rope_theta": 20000.0}, "intermediate_size": 256,
        },
        "gpt2",
    ),
    "mixtral": Family(
        "mixtral",
        {"model_type": "mixtral", **_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
        "sentencepiece",
    ),
    "starcoder2": _short("starcoder2"),
    "falcon": _short("falcon"),
    "gpt-neox": _short("gpt-neox"),
    "olmo": Family("olmo", {"model_type": "olmo", **_GROUPED, "clip_qkv": None}, "gpt2", norm=""),
    "olmo2": Family("olmo2", {"model_type": "olmo2", **_GROUPED}, "gpt2"),
    "mamba": Family(
        "mamba",
        {
            "model_type": "mamba", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
            "state_size": 16, "expand": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
            "tie_word_embeddings": True,
        },
        "gpt2", layers="backbone.layers", norm="backbone.norm_f", output="mixer.out_proj", rope=False,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """An encoder or an encoder-decoder: the class of transformers, its configuration, its tokenizer."""

    kind: str
    config: Mapping[str, Any]
    tokenizer: str
    norm: str = ""  # the last one before an answer's predictions


_SIDE = {"d_model": HIDDEN, "vocab_size": VOCABULARY}
_T5 = {**_SIDE, "d_kv": 64, "d_ff": 512, "num_layers": LAYERS, "num_heads": 4, "decoder_start_token_id": 0,
       "pad_token_id": 0, "eos_token_id": 1, "dropout_rate": 0.0}  # fmt: skip
_BERT = {**_COMMON, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

READERS: Mapping[str, Reading] = {
    "bert": Reading("BertModel", {**_BERT, "type_vocab_size": 2}, "wordpiece"),
    "codebert": Reading(
        "RobertaModel", {**_BERT, "type_vocab_size": 1, "max_position_embeddings": POSITIONS + 2, "pad_token_id": 1,
                         "bos_token_id": 0}, "roberta",
    ),
    "t5": Reading("T5ForConditionalGeneration", _T5, "unigram", "decoder.final_layer_norm"),
    "codet5": Reading(
        "T5ForConditionalGeneration",
        {**_T5, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1},
        "roberta", "decoder.final_layer_norm",
    ),
    "blenderbot": Reading(
        "BlenderbotForConditionalGeneration",
        {
            **_SIDE, "encoder_layers": LAYERS, "decoder_layers": LAYERS, "encoder_attention_heads": 4,
            "decoder_attention_heads": 4, "encoder_ffn_dim": 512, "decoder_ffn_dim": 512,
            "max_position_embeddings": POSITIONS, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
            "decoder_start_token_id": 0, "forced_eos_token_id": 2, "dropout": 0.0,
        },
        "roberta", "model.decoder.layer_norm",
    ),
}  # fmt: skip
CHATGLM = "chatglm"  # its original has no class in transformers: a folder that brings its own Python
NAMES = (*DECODERS, *READERS, CHATGLM)


def folder(name: str) -> Path:
    """The family's model, as a user's download would look; made when it is first asked for."""
    return _kept(name, functools.partial(_build, name))


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name, filled by `make` when it is not there yet."""
    place = _cache()
    with FileLock(place / f"{name}.lock"):
        if not (place / name).exists():
            with tempfile.TemporaryDirectory(dir=place) as scratch:
                made = Path(scratch) / name
                made.mkdir()
                make(made)
                made.rename(place / name)
    return place / name


def _cache() -> Path:
    from importlib.metadata import version

    decisive = [Path(__file__).read_bytes(), Path(models.__file__).read_bytes(), version("transformers").encode()]
    name = hashlib.sha256(b"".join(decisive)).hexdigest()[:12]
    place = Path(tempfile.gettempdir()) / f"lqmf-tests-{getpass.getuser()}" / f"architectures-{name}"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _build(name: str, made: Path) -> None:
    if name == CHATGLM:
        _foreign(made)
        return
    family = DECODERS.get(name)
    tokenizer = family.tokenizer if family else READERS[name].tokenizer
    shutil.copytree(_kept(f"tokenizer-{tokenizer}", _TOKENIZERS[tokenizer]), made, dirs_exist_ok=True)
    model = models.make(family) if family else _reader(READERS[name])
    model.bfloat16().save_pretrained(made)


def _reader(told: Reading) -> Any:
    """An encoder or an encoder-decoder in memory, its weights drawn so that the states differ from token to token."""
    import torch
    import transformers

    kind = getattr(transformers, told.kind)
    torch.manual_seed(0)
    model = kind(kind.config_class(**copy.deepcopy(dict(told.config)))).float().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "relative" not in name and "position" not in name:
                words = any(part in name for part in ("shared", "embed_tokens", "word_embeddings"))
                weight.normal_(0, 1.0 if words else 1.2 / math.sqrt(weight.shape[-1]))
    if told.norm:
        _softened(model, model.get_submodule(told.norm))
    return model


def _softened(model: Any, norm: Any) -> None:
    """Scale the last norm down until the predictions' entropy is ENTROPY of ln V."""
    import torch

    generator = torch.Generator().manual_seed(1)
    text, target = (torch.randint(5, VOCABULARY, (1, 32), generator=generator) for _ in range(2))
    with torch.no_grad():
        while True:
            rows = model(input_ids=text, decoder_input_ids=target).logits.numpy()
            if models.entropy(rows) >= models.ENTROPY * math.log(VOCABULARY):
                return
            norm.weight.mul_(0.87)


def _foreign(made: Path) -> None:
    """What ChatGLM's repository holds: a configuration that names its own Python, that Python, and weights. The names
    are those of THUDM/chatglm3-6b; the code raises when it is run."""
    import torch
    from safetensors.torch import save_file

    maps = {
        "AutoConfig": "configuration_chatglm.ChatGLMConfig",
        "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration",
    }
    config = {
        "architectures": ["ChatGLMModel"], "model_type": "chatglm", "auto_map": maps, "num_layers": LAYERS,
        "hidden_size": HIDDEN, "num_attention_heads": 4, "padded_vocab_size": VOCABULARY, "seq_length": POSITIONS,
        "ffn_hidden_size": 512, "multi_query_group_num": 2, "torch_dtype": "float16",
    }  # fmt: skip
    (made / "config.json").write_text(json.dumps(config))
    tokenizer = {"auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", None]}}
    (made / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    models.sentencepiece(made)
    (made / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    for name in ("configuration_chatglm", "modeling_chatglm", "tokenization_chatglm"):
        (made / f"{name}.py").write_text("raise SystemExit('the code of a repository was run')\n")
    words = {"transformer.embedding.word_embeddings.weight": torch.zeros(VOCABULARY, HIDDEN)}
    save_file(words, made / "model.safetensors", {"format": "pt"})


# ---------------------------------------------------------------- tokenizers


def _glm(made: Path) -> None:
    """llama.cpp's converter looks for GLM's own words."""
    models._TOKENIZERS["llama3"](made)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(made)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    tokenizer.save_pretrained(made)


def _wordpiece(made: Path) -> None:
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    tokenizer = BertWordPieceTokenizer()
    tokenizer.train_from_iterator(models.text()[:6000], vocab_size=VOCABULARY, show_progress=False)
    tokenizer.save_model(str(made))
    BertTokenizerFast(str(made / "vocab.txt")).save_pretrained(made)
    if not (made / "vocab.txt").is_file():
        tokenizer.save_model(str(made))


def _roberta(made: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing
    from transformers import RobertaTokenizerFast

    tokenizer = ByteLevelBPETokenizer()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        models.text()[:6000], vocab_size=VOCABULARY, special_tokens=specials, show_progress=False
    )
    tokenizer._tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.save_model(str(made))
    RobertaTokenizerFast(tokenizer_object=tokenizer._tokenizer).save_pretrained(made)


def _unigram(made: Path) -> None:
    """A SentencePiece unigram model, as T5's."""
    import sentencepiece as spm
    from transformers import T5TokenizerFast

    with (made / "spiece.model").open("wb") as model:
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter([line for line in models.text()[:6000] if line.strip()]), model_writer=model,
            vocab_size=VOCABULARY, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
            num_threads=2,
        )  # fmt: skip
    read = spm.SentencePieceProcessor(model_file=str(made / "spiece.model"))
    words = [(read.id_to_piece(place), read.get_score(place)) for place in range(len(read))]
    T5TokenizerFast(vocab=words, unk_token="<unk>", eos_token="</s>", extra_ids=0).save_pretrained(made)


_TOKENIZERS: Mapping[str, Callable[[Path], None]] = {
    **models._TOKENIZERS, "glm": _glm, "wordpiece": _wordpiece, "roberta": _roberta, "unigram": _unigram,
}  # fmt: skip


def header(file: Path) -> bytes:
    """How a safetensors file begins: all but its weights."""
    with file.open("rb") as whole:
        length = whole.read(8)
        return length + whole.read(int.from_bytes(length, "little"))


def hollow(name: str, place: Path) -> Path:
    """The family's model in `place`, its weights a hole behind their header."""
    for file in folder(name).iterdir():
        if not file.name.endswith(".safetensors"):
            (place / file.name).write_bytes(file.read_bytes())
            continue
        with (place / file.name).open("wb") as hole:
            hole.write(header(file))
            hole.truncate(file.stat().st_size)
    return place


@functools.cache
def config(name: str) -> dict[str, Any]:
    """The family's config.json."""
    found: dict[str, Any] = json.loads((folder(name) / "config.json").read_text(encoding="utf-8"))
    return found
