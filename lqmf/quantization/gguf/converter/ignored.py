"""What libllama computes whatever a configuration says: fields that neither the converter writes nor libllama reads, by
model type, and the values at which both agree.

Found by changing each field of a small model of every family and looking whether the GGUF's logits follow
(`bench/conversion_fields.py`; docs/measured/conversion.md has the table), for llama-cpp-python 0.3.36. A value that is
not honoured is refused, since every file of the model would be wrong; a sliding window is warned of, since texts that
are shorter than it are right. Pure; knows configurations, no files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lqmf.model_files.config import text_part
from lqmf.records import Verdict

Config = Mapping[str, Any]
WAY_OUT = "`--method bnb` and `--method gptq` run transformers' own code, which honours it."
_SILU = ("silu", "swish")
_GELU = ("gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_python", "gelu_accurate", "gelu_python_tanh")
# Betas of YaRN that libllama takes everywhere but in these, whose files say them.
_YARN_BETAS: Mapping[str, float] = {"beta_fast": 32.0, "beta_slow": 1.0}
_UNTRUNCATED = ("gpt_oss",)  # published so, and to be had nowhere else: warned of, and measured in the receipt
_ROPES_UNSAID: Mapping[str, tuple[str, ...]] = {  # kinds of rope that the converter does not write, by model type
    **dict.fromkeys(
        ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gpt_oss", "starcoder2", "olmo", "olmo2"), ("llama3",)
    ),
    **dict.fromkeys(("glm", "falcon", "gpt_neox"), ("linear", "llama3", "yarn")),
}
_YARN_SAID = ("grok", "mistral3", "ministral3")


@dataclass(frozen=True)
class Field:
    """A field of the configurations of `types`, which libllama computes as if it had one of the values in `takes` (or
    one of which `takes` says yes). `default` is transformers' value where the configuration has none."""

    key: str
    types: tuple[str, ...]
    takes: tuple[Any, ...] | Callable[[Config], bool]
    default: Any = None

    def honoured(self, config: Config) -> bool:
        """Whether libllama computes what `config` says."""
        if callable(self.takes):
            return self.takes(config)
        said = config.get(self.key)
        return (self.default if said is None else said) in self.takes


def _gemma_scale(layers_of_largest: int) -> Callable[[Config], bool]:
    """Queries are scaled by the width of a head; of the largest model by the width divided by the heads."""

    def takes(config: Config) -> bool:
        head = config.get("head_dim") or 256
        if config.get("num_hidden_layers") == layers_of_largest:
            head = config["hidden_size"] / config["num_attention_heads"]
        return float(config.get("query_pre_attn_scalar") or 256) == float(head)

    return takes


FIELDS: tuple[Field, ...] = (
    Field("hidden_act", (
        "llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "olmo", "olmo2", "olmo3", "olmoe",
        "phi3", "glm", "glm4", "cohere", "cohere2", "granite", "smollm3", "stablelm", "deepseek_v2", "deepseek_v3",
        "mamba",
    ), _SILU, "silu"),
    Field("hidden_act", ("gpt_neox", "starcoder2", "phi", "bert", "roberta"), _GELU, "gelu"),
    Field("activation_function", ("gpt2", "gpt_bigcode"), _GELU, "gelu_new"),
    Field("activation", ("falcon",), _GELU, "gelu"),
    Field("hidden_activation", ("gemma", "gemma2", "gemma3", "gemma3_text"), _GELU, "gelu_pytorch_tanh"),
    Field("feed_forward_proj", ("t5",), ("relu", "gated-gelu"), "relu"),
    Field("norm_topk_prob", ("qwen3_moe",), (True,), False),
    Field("norm_topk_prob", ("qwen2_moe", "olmoe"), (False,), False),
    Field("clip_qkv", ("olmoe",), (None,)),
    Field("scale_attn_weights", ("gpt2", "gpt_bigcode"), (True,), True),
    Field("scale_attn_by_inverse_layer_idx", ("gpt2",), (False,), False),
    Field("alibi", ("falcon",), (False,), False),
    Field("apply_residual_connection_post_layernorm", ("bloom", "falcon"), (False,), False),
    Field("query_pre_attn_scalar", ("gemma2",), _gemma_scale(46)),
    Field("query_pre_attn_scalar", ("gemma3", "gemma3_text"), _gemma_scale(62)),
    Field("no_rope_layers", ("smollm3",), lambda config: _every_fourth(config)),
    Field("layer_types", ("gemma2", "gemma3", "gemma3_text", "gpt_oss"), lambda config: _has_windows(config)),
    Field("swiglu_alpha", ("gpt_oss",), (1.702,), 1.702),
    Field("use_bidirectional_attention", ("gemma3", "gemma3_text"), lambda config: _one_way_or_embedding(config)),
)  # fmt: skip
WINDOWS: tuple[str, ...] = (  # model types whose sliding windows libllama takes for the whole context
    "mistral", "mixtral", "starcoder2", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "phi3",
)  # fmt: skip


def refusal(config: Config) -> Verdict | None:
    """Why no GGUF of a model with this configuration would predict as the model does; None where one would."""
    for key, said in unhonoured(config):
        reason = (
            f"llama.cpp does not honour {key} {said!r} of its config.json: every GGUF of it would predict otherwise."
        )
        return Verdict("no", reason, WAY_OUT)
    return None


def unhonoured(config: Config) -> Iterator[tuple[str, Any]]:
    """Each field that libllama computes in another way, and what the configuration says of it."""
    inner = text_part(config)
    kind = str(inner.get("model_type") or config.get("model_type"))
    for field in FIELDS:
        if kind in field.types and not field.honoured(inner):
            yield field.key, inner.get(field.key, field.default)
    rope = _yarn(inner)
    for key, taken in _YARN_BETAS.items():
        if rope and kind not in _YARN_SAID and float(rope.get(key) or taken) != taken:
            yield f"rope_parameters.{key}", rope[key]
    if (rope_type := _rope(inner).get("rope_type")) in _ROPES_UNSAID.get(kind, ()):
        yield "rope_parameters.rope_type", rope_type
    if rope.get("truncate") is False and kind not in _UNTRUNCATED:
        yield "rope_parameters.truncate", False


def ignored_window(config: Config) -> int | None:
    """The tokens of a sliding window that libllama does not keep to; None where there is none, or it keeps to it."""
    inner = text_part(config)
    window = inner.get("sliding_window")
    used = inner.get("use_sliding_window", not str(inner.get("model_type")).startswith("qwen"))
    layers = inner.get("layer_types")
    if inner.get("model_type") not in WINDOWS or not isinstance(window, int) or not used:
        return None
    return window if not layers or "sliding_attention" in layers else None


def window_warning(config: Config) -> str | None:
    """What there is to say of a sliding window that libllama does not keep to, where the context is longer."""
    window, context = ignored_window(config), text_part(config).get("max_position_embeddings")
    if window is None or (isinstance(context, int) and context <= window):
        return None
    return (
        f"llama.cpp ignores its sliding window: beyond {window:,} tokens it predicts otherwise than the model, which "
        f"bnb and gptq run as it is; up to there (`--context {window}`) it is right."
    )


def untruncated_warning(config: Config) -> str | None:
    """What there is to say of a YaRN whose range of frequencies is not rounded to whole numbers, which libllama rounds
    in any case."""
    inner = text_part(config)
    if inner.get("model_type") not in _UNTRUNCATED or _yarn(inner).get("truncate") is not False:
        return None
    return "llama.cpp rounds the range of its YaRN, which the model does not: the receipt's `conversion` says how much."


def attention_factor(config: Config) -> float | None:
    """What a file must state as `rope.scaling.attn_factor` so that YaRN scales attention as transformers does; None
    where libllama's own 0.1 ln(factor) + 1 is right."""
    rope = _yarn(text_part(config))
    factor = rope.get("factor")
    if not isinstance(factor, int | float) or factor <= 1:
        return None
    own, wanted = 0.1 * math.log(factor) + 1, rope.get("attention_factor")
    if wanted is None and rope.get("mscale") and rope.get("mscale_all_dim"):
        one, other = (0.1 * float(rope[key]) * math.log(factor) + 1 for key in ("mscale", "mscale_all_dim"))
        wanted = one / other
    return None if wanted is None or math.isclose(wanted, own, rel_tol=1e-6) else float(wanted) / own


def _rope(config: Config) -> Config:
    """The parameters of rotary positions (of the layers that see the whole context); `rope_type` says their kind."""
    said = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rope = said.get("full_attention", said) if isinstance(said, Mapping) else {}
    return {"rope_type": rope.get("type"), **rope} if isinstance(rope, Mapping) else {}


def _yarn(config: Config) -> Config:
    """The parameters of a YaRN, where the configuration has one."""
    rope = _rope(config)
    return rope if rope.get("rope_type") == "yarn" else {}


def _every_fourth(config: Config) -> bool:
    """Whether each fourth layer, and no other, goes without rotary positions (a 1 in the list means with)."""
    said = config.get("no_rope_layers")
    return not said or all(bool(rotates) is ((place + 1) % 4 != 0) for place, rotates in enumerate(said))


def _has_windows(config: Config) -> bool:
    """Whether any layer has a sliding window: of architectures that have some, libllama gives some to each model."""
    return not config.get("layer_types") or "sliding_attention" in config["layer_types"]


def _one_way_or_embedding(config: Config) -> bool:
    """A model that looks both ways is converted as such where it is one that embeds."""
    return not config.get("use_bidirectional_attention") or config.get("architectures") == ["Gemma3TextModel"]
