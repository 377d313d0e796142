"""Checks the numbers in a model's configuration before anything is computed from it, in time that does not grow with
them: a wrong one would end in a library's own error, or fill the memory.

Pure. Knows the names under which configurations keep their numbers; a number that a configuration leaves out is none of
its business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lqmf.errors import UnsupportedModel
from lqmf.model_files.config import text_part
from lqmf.model_files.refs import printable
from lqmf.units import short

_PARTS = ("text_config", "llm_config", "language_config")
_LISTED = ("layer_types", "layers_block_type", "hybrid_override_pattern")  # one entry a layer
_HEAD_DIMS = (
    "head_dim",
    "attention_head_size",
    "kv_channels",
    "attention_head_dim",
    "d_kv",
    "qk_nope_head_dim",
    "global_head_dim",
)

_OF_STATES = (
    *("mamba_d_state", "ssm_state_size", "state_size", "mamba_d_conv", "conv_kernel", "conv_L_cache", "n_groups"),
    *("mamba_n_groups", "mamba_d_ssm", "mamba_n_heads", "mamba_num_heads", "mamba_d_head", "mamba_head_dim"),
    *("mamba_expand", "linear_num_value_heads", "linear_num_key_heads", "linear_value_head_dim"),
    *("linear_key_head_dim", "linear_conv_kernel_dim"),
)


@dataclass(frozen=True)
class _Whole:
    """A whole number from `least` to `most`, under any of `names`. One that is not `needed` may be null or, for each
    layer apart, a list."""

    names: tuple[str, ...]
    least: int
    most: int
    needed: bool = False


_LAYERS = _Whole(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers"), 1, 1024, needed=True)
_WIDTH = _Whole(("hidden_size", "n_embd", "d_model"), 1, 1 << 17, needed=True)
_HEADS = _Whole(("num_attention_heads", "n_head", "n_heads", "encoder_attention_heads"), 1, 1 << 12, needed=True)
_KV_HEADS = _Whole(("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"), 1, 1 << 12)
_WHOLE = (
    _LAYERS,
    _WIDTH,
    _HEADS,
    _KV_HEADS,
    _Whole(("vocab_size", "padded_vocab_size"), 1, 1 << 20, needed=True),
    _Whole(("decoder_layers", "num_decoder_layers", "decoder_attention_heads", "num_heads"), 1, 1 << 12),
    _Whole(("intermediate_size", "n_inner", "ffn_dim", "moe_intermediate_size", "d_ff"), 1, 1 << 24),
    _Whole((*_HEAD_DIMS, "v_head_dim", "qk_rope_head_dim", "kv_lora_rank", "num_global_key_value_heads"), 0, 1 << 16),
    _Whole(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"), 1, 1 << 30),
    _Whole(("sliding_window",), -1, 1 << 30),
    _Whole(("num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok"), 0, 1 << 14),
    _Whole(("num_kv_shared_layers", "attn_layer_period", "attn_layer_offset", "full_attention_interval"), 0, 1024),
    _Whole(_OF_STATES, 0, 1 << 20),
)
_REAL = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "rope_theta", "partial_rotary_factor")


def refuse(config: Mapping[str, Any]) -> None:
    """Raise UnsupportedModel where a number in `config` is none that a model can have; the error names the field, its
    value, and what is possible."""
    if (wrong := next(_wrong(config), None)) is not None:
        raise UnsupportedModel(f"config.json says {wrong}.", "Get the model again, or correct its config.json.")


def _wrong(config: Mapping[str, Any]) -> Iterator[str]:
    for name in _PARTS:
        if config.get(name) is not None and not isinstance(config[name], Mapping):
            yield f"{_said(name, config[name])}; it is a part of its own, in braces"
    text = {**config, **text_part(config)}
    for whole in _WHOLE:
        yield from _of_numbers(text, whole)
    rope = text.get("rope_parameters")
    for name in _REAL:
        value = text.get(name, rope.get(name) if isinstance(rope, Mapping) else None)
        if value is not None and not (_is_number(value) and math.isfinite(value) and value >= 0):
            yield f"{_said(name, value)}; it is a number from 0"
    layers = _first(text, _LAYERS)
    for name in _LISTED:
        value = text.get(name)
        if value is not None and not (isinstance(value, str | Sequence) and len(value) >= (layers or 0)):
            yield f"{_said(name, value)}; it has an entry for each of {layers} layers"
    yield from _of_heads(text, layers)


def _of_numbers(text: Mapping[str, Any], whole: _Whole) -> Iterator[str]:
    there = [name for name in whole.names if name in text]
    if whole.needed and there and all(text[name] is None for name in there):
        yield f"{there[0]} null; it is a whole number from {whole.least} to {whole.most:,}"
    for name in there:
        value = text[name]
        each = value if isinstance(value, list) and not whole.needed else [value]
        if (
            value is not None
            and (whole.needed or value is not False)
            and not all(_is_whole(one, whole) for one in each)
        ):
            yield f"{_said(name, value)}; it is a whole number from {whole.least} to {whole.most:,}"


def _of_heads(text: Mapping[str, Any], layers: int | None) -> Iterator[str]:
    width, heads, kept = _first(text, _WIDTH), _first(text, _HEADS), _first(text, _KV_HEADS)
    if width and heads and width % heads and not any(text.get(name) for name in _HEAD_DIMS):
        yield f"{heads} attention heads; they must divide the width, {width}"
    if heads and kept and heads % kept:
        yield f"{kept} key-value heads; they must divide the attention heads, {heads}"
    for name in _KV_HEADS.names:
        if isinstance(text.get(name), list) and len(text[name]) < (layers or 0):
            yield f"{_said(name, text[name])}; it has an entry for each of {layers} layers"


def _first(text: Mapping[str, Any], whole: _Whole) -> int | None:
    """Return the number under the first of its names that has one; None where it is none, or a list."""
    return next((text[name] for name in whole.names if _is_whole(text.get(name), whole)), None)


def _is_whole(value: Any, whole: _Whole) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and whole.least <= value <= whole.most


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 1000


def _said(name: str, value: Any) -> str:
    """Return a field with its value, which may be of any size, for a sentence."""
    shown = f"a number of {value.bit_length()} bits" if isinstance(value, int) and abs(value) >> 200 else repr(value)
    return f"{name} {short(printable(shown[:200]))}"
