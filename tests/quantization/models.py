"""Small models of many families, made here and now, whose outputs tell right from wrong.

Plain random weights are blind: attention is flat, so a wrong rope base hardly shows. These are scaled so that each
layer, each head and each position matters, and the output is far from uniform. Every value is one that a half float
holds, so that a 16-bit file loses nothing. Knows transformers, tokenizers and sentencepiece; nothing of LQMF.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

VOCABULARY = 1024
HIDDEN, HEADS, LAYERS, FEED_FORWARD = 256, 4, 3, 512
POSITIONS = 512
ENTROPY = 0.6  # of ln V: well under the 0.70 above which a model counts as blind

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


@dataclass(frozen=True)
class Family:
    """One architecture: its configuration, its tokenizer, and where its parts are called what.

    `tokenizer` names one of `_TOKENIZERS`; `output` is the attention's output projection
    within a layer, whose input columns (rows, where `transposed`) belong to the heads in turn.
    """

    name: str
    config: Mapping[str, Any]
    tokenizer: str
    layers: str = "model.layers"
    norm: str = "model.norm"
    output: str = "self_attn.o_proj"
    transposed: bool = False
    centred_norms: bool = False  # norms multiply by 1 + weight
    rope: bool = True


_COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS,
    "intermediate_size": FEED_FORWARD, "max_position_embeddings": POSITIONS, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0, "attention_dropout": 0.0,
}  # fmt: skip
_GROUPED = _COMMON | {"num_key_value_heads": 2, "head_dim": HIDDEN // HEADS}
_FOURFOLD = _COMMON | {"intermediate_size": 4 * HIDDEN}
_ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 20000.0}}  # not what libllama assumes
_PARTIAL = {"rope_parameters": {**_ROPE["rope_parameters"], "partial_rotary_factor": 0.5}}
_GEMMA: Mapping[str, Any] = {"tokenizer": "sentencepiece-bare", "centred_norms": True}

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("llama", {"model_type": "llama", **_GROUPED}, "sentencepiece"),
        Family("llama-bpe", {"model_type": "llama", **_GROUPED, "tie_word_embeddings": True}, "llama3"),
        Family(
            "mistral", {"model_type": "mistral", **_GROUPED, **_ROPE, "num_key_value_heads": 1, "sliding_window": None},
            "sentencepiece",
        ),
        Family("qwen2", {"model_type": "qwen2", **_GROUPED}, "qwen2"),
        Family("qwen3", {"model_type": "qwen3", **_GROUPED, "tie_word_embeddings": True}, "qwen2"),
        Family("gemma", {"model_type": "gemma", **_GROUPED, **_ROPE}, **_GEMMA),
        Family("gemma2", {"model_type": "gemma2", **_GROUPED, "query_pre_attn_scalar": 64}, **_GEMMA),
        Family("gemma3", {"model_type": "gemma3_text", **_GROUPED, "query_pre_attn_scalar": 64}, **_GEMMA),
        Family(
            "phi", {"model_type": "phi", **_FOURFOLD, **_PARTIAL}, "gpt2",
            norm="model.final_layernorm", output="self_attn.dense",
        ),
        Family("phi3", {"model_type": "phi3", **_GROUPED}, "sentencepiece"),
        Family(
            "gpt2",
            {
                "model_type": "gpt2", "vocab_size": VOCABULARY, "n_positions": POSITIONS, "n_embd": HIDDEN,
                "n_layer": LAYERS, "n_head": HEADS, "bos_token_id": 1, "eos_token_id": 2,
                "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
            },
            "gpt2", layers="transformer.h", norm="transformer.ln_f", output="attn.c_proj", transposed=True, rope=False,
        ),
        Family(
            "gpt-neox", {"model_type": "gpt_neox", **_FOURFOLD, **_PARTIAL}, "gpt2",
            layers="gpt_neox.layers", norm="gpt_neox.final_layer_norm", output="attention.dense",
        ),
        Family("starcoder2", {"model_type": "starcoder2", **_GROUPED, "intermediate_size": 4 * HIDDEN}, "starcoder"),
        Family(
            "falcon",
            {
                "model_type": "falcon", **_FOURFOLD, **_ROPE, "alibi": False, "multi_query": True,
                "new_decoder_architecture": False,
            },
            "falcon", layers="transformer.h", norm="transformer.ln_f", output="self_attention.dense",
        ),
    )
}  # fmt: skip


def build(family: Family, folder: Path) -> Path:
    """The family's model and tokenizer in `folder`, as a user's download would look."""
    folder.mkdir(parents=True, exist_ok=True)
    _TOKENIZERS[family.tokenizer](folder)
    model = make(family)
    model.save_pretrained(folder)
    return folder


def make(family: Family, seed: int = 0) -> Any:
    """The family's model, in memory: float32, evaluation mode, sharp."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = dict(family.config)
    config = AutoConfig.for_model(settings.pop("model_type"), **copy.deepcopy(settings))
    config.architectures = [type(AutoModelForCausalLM.from_config(config)).__name__]
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    _randomize(model, family)
    _sharpen(model, family)
    return model


def load(folder: Path) -> Any:
    """The model in `folder`, in float32 and evaluation mode."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def logits(model: Any, windows: Sequence[Sequence[int]]) -> Any:
    """The model's logits over equally long windows: (N, T, V) float32 as an array."""
    import torch

    with torch.inference_mode():
        return model(torch.tensor(windows)).logits.float().numpy()


def entropy(rows: Any) -> float:
    """Mean entropy of softmax over the last axis, in nats."""
    import numpy as np

    shifted = rows.astype(np.float64) - rows.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return float(-(np.exp(log_p) * log_p).sum(-1).mean())


def _randomize(model: Any, family: Family) -> None:
    import torch

    for name, weight in model.named_parameters():
        with torch.no_grad():
            if weight.dim() < 2:
                weight.add_(0.1 * torch.randn_like(weight))
            elif "embed" in name or ".wte" in name or ".wpe" in name:
                weight.normal_(0, _embedding_scale(model.config, family))
            else:
                gain = 1.5 if any(part in name for part in ("q_proj", "k_proj", "query", "qkv", "c_attn")) else 1.0
                weight.normal_(0, gain / math.sqrt(weight.shape[0 if family.transposed else 1]))


def _embedding_scale(config: Any, family: Family) -> float:
    """Small where the output shares the embedding, or each token would mostly predict itself. (Gemma multiplies its
    embedding by the root of its width.)"""
    scale = 0.6 if config.tie_word_embeddings else 1.0
    return scale / math.sqrt(HIDDEN) if family.centred_norms else scale


def _sharpen(model: Any, family: Family) -> None:
    """Scale the last norm until the output's entropy is ENTROPY of ln V; then keep only what half floats hold. Where
    the norm has no weights (OLMo's), its place is taken by the head."""
    import torch

    if not family.norm:
        _sharpen_head(model)
        return
    norm, shift = model.get_submodule(family.norm), 1.0 if family.centred_norms else 0.0
    weight, bias = norm.weight.detach().clone(), getattr(norm, "bias", None)
    kept = bias.detach().clone() if bias is not None else None
    with torch.no_grad():
        norm.weight.fill_(-shift)  # uniform at first; softcapping makes too large a scale uniform again
    generator = torch.Generator().manual_seed(1)
    windows = torch.randint(3, VOCABULARY, (1, 48), generator=generator).tolist()
    scale = 0.005
    while entropy(logits(model, windows)) > ENTROPY * math.log(VOCABULARY):
        scale *= 1.15
        with torch.no_grad():
            norm.weight.copy_((weight + shift) * scale - shift)
            if kept is not None:
                bias.copy_(kept * scale)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())


def _sharpen_head(model: Any) -> None:
    import torch

    generator = torch.Generator().manual_seed(1)
    windows = torch.randint(3, VOCABULARY, (1, 48), generator=generator).tolist()
    head = model.get_output_embeddings().weight
    with torch.no_grad():
        while entropy(logits(model, windows)) > ENTROPY * math.log(VOCABULARY):
            head.mul_(1.15)
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())


# ---------------------------------------------------------------- models that are wrong


def with_wrong_rope(model: Any, family: Family) -> Any:
    """The same weights with every rope base a tenth."""
    config = copy.deepcopy(model.config)
    _divide_rope(config.rope_parameters)
    return _rebuilt(model, config)


def with_swapped_layers(model: Any, family: Family) -> Any:
    """The same weights with the first two layers exchanged."""
    wrong = _rebuilt(model, model.config)
    first, second = (wrong.get_submodule(f"{family.layers}.{i}") for i in (0, 1))
    kept = copy.deepcopy(first.state_dict())
    first.load_state_dict(second.state_dict())
    second.load_state_dict(kept)
    return wrong


def with_permuted_heads(model: Any, family: Family) -> Any:
    """The same weights with the first layer's heads rotated by one in its output projection."""
    import torch

    wrong = _rebuilt(model, model.config)
    weight = wrong.get_submodule(f"{family.layers}.0.{family.output}").weight
    axis = 0 if family.transposed else 1
    with torch.no_grad():
        weight.copy_(torch.roll(weight, weight.shape[axis] // HEADS, dims=axis))
    return wrong


WRONG: Mapping[str, Callable[[Any, Family], Any]] = {
    "a wrong rope base": with_wrong_rope,
    "swapped layers": with_swapped_layers,
    "permuted heads": with_permuted_heads,
}


def _divide_rope(parameters: dict[str, Any]) -> None:
    for key, value in parameters.items():
        if isinstance(value, dict):
            _divide_rope(value)
        elif key == "rope_theta":
            parameters[key] = value / 10


def _rebuilt(model: Any, config: Any) -> Any:
    wrong = type(model)._from_config(copy.deepcopy(config), attn_implementation="eager").float().eval()
    wrong.load_state_dict(model.state_dict())
    return wrong


# ---------------------------------------------------------------- tokenizers


def text() -> list[str]:
    """Lines to train a tokenizer on, and to tokenize."""
    return resources.files("lqmf").joinpath("assets/text/calibration.txt").read_text(encoding="utf-8").splitlines()


def bpe(folder: Path, steps: Sequence[Any]) -> None:
    """A byte-level BPE tokenizer with these pre-tokenizing steps, trained on the text, as tokenizer.json."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(list(steps))
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(text()[:6000], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<|endoftext|>"
    )
    fast.save_pretrained(folder)


def sentencepiece(folder: Path, *, add_dummy_prefix: bool = True) -> None:
    """A SentencePiece tokenizer as Llama's: byte fallback, nothing normalized; trained on the text."""
    import sentencepiece as spm

    with (folder / "tokenizer.model").open("wb") as model:
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter([line for line in text()[:6000] if line.strip()]), model_writer=model,
            vocab_size=VOCABULARY, model_type="bpe", byte_fallback=True, character_coverage=0.9995,
            normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
            allow_whitespace_only_pieces=True, add_dummy_prefix=add_dummy_prefix,
            unk_id=0, bos_id=1, eos_id=2, control_symbols="<|endoftext|>", minloglevel=2, num_threads=2,
        )  # fmt: skip
    config = {
        "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": True, "add_eos_token": False, "legacy": False,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def _split(pattern: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Split(Regex(pattern), "isolated")


def _bytes(use_regex: bool = False) -> Any:
    from tokenizers import pre_tokenizers

    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def _digits(folder: Path) -> None:
    from tokenizers import pre_tokenizers

    bpe(folder, [pre_tokenizers.Digits(individual_digits=True), _bytes(use_regex=True)])


def _falcon(folder: Path) -> None:
    from tokenizers import Regex, pre_tokenizers

    by_three = pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")
    bpe(folder, [pre_tokenizers.Punctuation("contiguous"), _bytes(use_regex=True), by_three])


_TOKENIZERS: Mapping[str, Callable[[Path], None]] = {
    "sentencepiece": sentencepiece,
    "sentencepiece-bare": lambda folder: sentencepiece(folder, add_dummy_prefix=False),  # as Gemma's
    "gpt2": lambda folder: bpe(folder, [_bytes(use_regex=True)]),
    "qwen2": lambda folder: bpe(folder, [_split(QWEN2), _bytes()]),
    "llama3": lambda folder: bpe(folder, [_split(LLAMA3), _bytes()]),
    "starcoder": _digits,
    "falcon": _falcon,
}
