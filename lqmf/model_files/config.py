"""Computes llama.cpp's bytes of keys, values and recurrent state for each layer, from a Hugging Face config alone.

Formulas are those of llama.cpp (llama-kv-cache.cpp, llama-kv-cache-iswa.cpp, llama-memory-recurrent.cpp,
llama-hparams.cpp and its converter, as in llama-cpp-python 0.3.36), for one cache per chat and a sliding-window cache
that holds only the window and the batch being computed (`swa_full` off, as in llama-server). Pure. Knows nothing of
weights.

An architecture whose windows llama.cpp ignores (Mistral, Phi-3, Qwen2) has the whole context in every layer here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lqmf.errors import UnsupportedModel, UsageError

Config = Mapping[str, Any]

BLOCKS: Mapping[str, tuple[int, int]] = {"f16": (1, 2), "q8_0": (32, 34), "q4_0": (32, 18)}  # values, bytes
CELL_STEP = 256  # tokens; every cache is rounded up to it
_STATE_VALUE_BYTES = 4  # recurrent states are kept as 32-bit floats

# model types of which llama.cpp caches a window: every how many layers one sees the whole context, where the config
# does not list its layers
_WINDOWED: Mapping[str, int] = {
    "gemma2": 2,
    "gemma3": 6,
    "gemma3_text": 6,
    "gemma3n_text": 5,
    "gemma4_text": 6,
    "gemma4_unified_text": 6,
    "gpt_oss": 2,
    "cohere2": 4,
    "olmo3": 4,
    "exaone4": 4,
    "llama4_text": 4,
}
_CHUNK = 8192  # the attention chunk of Llama 4, whatever its config says
_DEFAULTS: Mapping[str, Config] = {  # what published configs leave out because transformers fills it in
    "gemma3_text": {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208},
    "gemma2": {"sliding_window": 4096},
    "mamba": {"conv_kernel": 4, "state_size": 16},
    "falcon_mamba": {"conv_kernel": 4, "state_size": 16},
    "mamba2": {"conv_kernel": 4, "state_size": 128, "n_groups": 1},
}
_MAMBA = ("mamba", "mamba2", "falcon_mamba")
_MIXERS: Mapping[str, str] = {  # as configs name them: by words, or by Nemotron-H's letters ("-" and "E" are MLPs)
    "linear_attention": "recurrent",
    "mamba": "recurrent",
    "M": "recurrent",
    "conv": "conv",
    "attention": "attention",
    "full_attention": "attention",
    "*": "attention",
}
_UNPACKED_MLA = ("minicpm3", "plm")  # llama.cpp caches every head of these, not the latent


@dataclass(frozen=True)
class LayerCache:
    """The cache of one layer for all chats, in bytes. `state` (recurrent) does not grow with the context."""

    keys: int
    values: int
    state: int

    @property
    def total(self) -> int:
        return self.keys + self.values + self.state


def layer_cache(
    config: Config, context: int, k_type: str, v_type: str, *, parallel: int = 1, ubatch: int = 512
) -> tuple[LayerCache, ...]:
    """Return the cache of each layer for `parallel` chats of `context` tokens, computed in batches of `ubatch` tokens.

    Raises UnsupportedModel if the config does not give its layers and heads, UsageError for an unknown cache type, or a
    cache type whose blocks do not fit the heads.
    """
    text = text_part(config)
    return tuple(_layer(text, index, context, (k_type, v_type), parallel, ubatch) for index in range(layers(config)))


def cache_bytes(config: Config, context: int, k_type: str, v_type: str, *, parallel: int = 1, ubatch: int = 512) -> int:
    """Return the bytes of keys, values and state of all layers and chats. Raises as `layer_cache` does."""
    return sum(layer.total for layer in layer_cache(config, context, k_type, v_type, parallel=parallel, ubatch=ubatch))


def fits(config: Config, cache_type: str) -> bool:
    """Return whether the blocks of `cache_type` fit the heads of every layer; llama.cpp refuses other types. Raises
    UnsupportedModel, KeyError for an unknown cache type."""
    text, (values, _) = text_part(config), BLOCKS[cache_type]
    return all(dim % values == 0 for index in range(layers(config)) for dim in _head_dims(text, index))


def layers(config: Config) -> int:
    """Return the number of repeating layers. Raises UnsupportedModel if the config does not give it."""
    names = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
    return int(_needed(text_part(config), *names))


def text_part(config: Config) -> Config:
    """Return the language model's own part of a config, with the defaults that transformers would fill in."""
    for key in ("text_config", "llm_config", "language_config"):
        if isinstance(config.get(key), Mapping):
            config = config[key]
    return {**_DEFAULTS.get(str(config.get("model_type")), {}), **config}


def is_mixture(config: Config) -> bool:
    """Return whether `config` describes a mixture of experts."""
    inner = text_part(config)
    return any(inner.get(key) for key in ("num_experts", "num_local_experts", "n_routed_experts"))


# ---------------------------------------------------------------- one layer


def _layer(text: Config, index: int, context: int, types: tuple[str, str], parallel: int, ubatch: int) -> LayerCache:
    state = _state_values(text, index) * _STATE_VALUE_BYTES * parallel
    if not _attends(text, index):
        return LayerCache(0, 0, state)
    rows = _cells(text, index, context, ubatch) * parallel
    (key_dim, value_dim), heads = _head_dims(text, index), _kv_heads(text, index)
    return LayerCache(rows * _row(key_dim, heads, types[0]), rows * _row(value_dim, heads, types[1]), state)


def _row(dim: int, heads: int, cache_type: str) -> int:
    """Bytes of one token's keys (or values) in one layer."""
    if cache_type not in BLOCKS:
        raise UsageError(f"There is no cache type called '{cache_type}'.", f"Choose one of: {', '.join(BLOCKS)}.")
    values, size = BLOCKS[cache_type]
    if dim % values:
        raise UsageError(
            f"A {cache_type} cache holds blocks of {values} values; this model's heads have {dim}.", "Choose f16."
        )
    return dim * heads // values * size


def _cells(text: Config, index: int, context: int, ubatch: int) -> int:
    """Tokens that a layer keeps of one chat: all of the context, or its window and the batch being computed."""
    whole = -(-context // CELL_STEP) * CELL_STEP
    window = _window(text, index)
    return whole if window is None else -(-min(whole, window + ubatch) // CELL_STEP) * CELL_STEP


def _window(text: Config, index: int) -> int | None:
    """Tokens that a layer looks back on, or None for all of them."""
    kind = str(text.get("model_type"))
    window = _CHUNK if kind == "llama4_text" else text.get("sliding_window")
    if kind not in _WINDOWED or not window:
        return None
    listed = text.get("layer_types")
    if listed:
        return None if listed[index] == "full_attention" else int(window)
    period = text.get("sliding_window_pattern") or _WINDOWED[kind]
    if isinstance(period, str):  # "LLLG"
        return int(window) if period[index % len(period)] == "L" else None
    return int(window) if (index + 1) % int(period) else None


def _attends(text: Config, index: int) -> bool:
    """Whether a layer caches keys and values of its own."""
    if shared := text.get("num_kv_shared_layers"):  # the last layers look at earlier layers' keys
        return bool(index < layers(text) - int(shared))
    return _mixer(text, index) in ("attention", "both")


def _head_dims(text: Config, index: int) -> tuple[int, int]:
    """Values of one head's key and of its value. Latent attention keeps one key for all heads, and no value."""
    rank, rope = text.get("kv_lora_rank"), text.get("qk_rope_head_dim")
    if rank and rope:
        if text.get("model_type") in _UNPACKED_MLA:
            return int(text["qk_nope_head_dim"]) + int(rope), int(text.get("v_head_dim") or _plain_head_dim(text))
        return int(rank) + int(rope), 0
    dim = _plain_head_dim(text)
    if text.get("global_head_dim") and _window(text, index) is None:
        dim = int(text["global_head_dim"])
    return dim, int(text.get("v_head_dim") or dim)


def _plain_head_dim(text: Config) -> int:
    for key in ("head_dim", "kv_channels", "attention_head_dim", "d_kv"):
        if text.get(key):
            return int(text[key])
    return int(_needed(text, "hidden_size", "n_embd", "d_model")) // _heads(text)


def _heads(text: Config) -> int:
    return int(_needed(text, "num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"))


def _kv_heads(text: Config, index: int) -> int:
    """Heads whose keys and values are kept."""
    if text.get("kv_lora_rank") and text.get("model_type") not in _UNPACKED_MLA:
        return 1
    if text.get("num_global_key_value_heads") and _window(text, index) is None:
        return int(text["num_global_key_value_heads"])
    if text.get("multi_query") and not text.get("new_decoder_architecture"):
        return 1
    for key in ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"):
        found = text.get(key)
        if isinstance(found, Sequence) and not isinstance(found, str):
            return int(found[index])
        if found is not None:
            return int(found)
    nested = text.get("attn_config")  # MPT, DBRX
    if isinstance(nested, Mapping) and nested.get("kv_n_heads"):
        return int(nested["kv_n_heads"])
    return _heads(text)


# ---------------------------------------------------------------- recurrent layers


def _mixer(text: Config, index: int) -> str:
    """What mixes tokens in a layer: "attention", "recurrent", "conv", "both", or "none" (only an MLP)."""
    if text.get("model_type") == "falcon_h1":
        return "both"
    pattern = text.get("hybrid_override_pattern") or text.get("layers_block_type")
    if pattern:
        return _MIXERS.get(pattern[index], "none")
    if listed := text.get("layer_types"):
        return _MIXERS.get(listed[index], "attention")
    if indices := text.get("attn_layer_indices"):
        return "attention" if index in indices else "recurrent"
    if period := text.get("attn_layer_period"):
        return "attention" if index % int(period) == int(text.get("attn_layer_offset") or 0) else "recurrent"
    if "linear_num_value_heads" in text:
        return "recurrent" if (index + 1) % int(text.get("full_attention_interval") or 4) else "attention"
    return "recurrent" if text.get("model_type") in _MAMBA else "attention"


def _state_values(text: Config, index: int) -> int:
    """Values of a layer's state for one chat: the convolution's last inputs, and the recurrence itself."""
    mixer = _mixer(text, index)
    if mixer == "conv":
        return int(text["hidden_size"]) * (int(text["conv_L_cache"]) - 1)
    if mixer not in ("recurrent", "both"):
        return 0
    if "linear_num_value_heads" in text:  # a gated delta net
        inner = int(text["linear_value_head_dim"]) * int(text["linear_num_value_heads"])
        state, groups = int(text["linear_key_head_dim"]), int(text["linear_num_key_heads"])
        kernel = int(text["linear_conv_kernel_dim"])
    else:
        inner, state = _mamba_inner(text), int(_needed(text, "mamba_d_state", "ssm_state_size", "state_size"))
        groups = int(text.get("mamba_n_groups") or text.get("n_groups") or 0)
        kernel = int(_needed(text, "mamba_d_conv", "conv_kernel"))
    return (kernel - 1) * (inner + 2 * groups * state) + state * inner


def _mamba_inner(text: Config) -> int:
    """The width of a Mamba layer."""
    if text.get("mamba_d_ssm"):
        return int(text["mamba_d_ssm"])
    for heads, dim in (("mamba_n_heads", "mamba_d_head"), ("mamba_num_heads", "mamba_head_dim")):
        if isinstance(text.get(heads), int) and isinstance(text.get(dim), int):
            return int(text[heads]) * int(text[dim])
    return int(text.get("mamba_expand") or text.get("expand") or 2) * int(_needed(text, "hidden_size", "d_model"))


def _needed(text: Config, *names: str) -> Any:
    for name in names:
        if text.get(name):
            return text[name]
    raise UnsupportedModel(
        f"The model's config.json does not say its {names[0]}, so its memory cannot be computed.",
        "Choose a model in the Transformers format, with a complete config.json.",
    )
