"""Describes the sizes of models, for when no model is named: one well-known model of each size stands for its class.

Shapes are those of the models' published config.json. Pure; knows no machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lqmf.fit import formula
from lqmf.fit.needs import Needs
from lqmf.model_files.safetensors_header import TensorShape

CONTEXTS = (2048, 4096, 8192, 16384, 32768, 131072)


@dataclass(frozen=True)
class SizeClass:
    """A size of models. `name` is the usual name of the size; `like` the published model whose shape stands for it."""

    name: str
    like: str
    config: Mapping[str, Any] = field(compare=False)


def _dense(layers: int, width: int, heads: int, kv_heads: int, ffn: int, words: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "vocab_size": words,
        "max_position_embeddings": 131072,
        **more,
    }


CLASSES = (
    SizeClass("0.5B", "Qwen2.5 0.5B", _dense(24, 896, 14, 2, 4864, 151936, tie_word_embeddings=True)),
    SizeClass("1B", "Llama 3.2 1B", _dense(16, 2048, 32, 8, 8192, 128256, tie_word_embeddings=True)),
    SizeClass("3B", "Llama 3.2 3B", _dense(28, 3072, 24, 8, 8192, 128256, tie_word_embeddings=True)),
    SizeClass("8B", "Llama 3.1 8B", _dense(32, 4096, 32, 8, 14336, 128256)),
    SizeClass("14B", "Qwen2.5 14B", _dense(48, 5120, 40, 8, 13824, 152064)),
    SizeClass(
        "30B-A3B",
        "Qwen3 30B-A3B",
        _dense(48, 2048, 32, 4, 768, 151936, head_dim=128, num_experts=128, num_experts_per_tok=8),
    ),
    SizeClass("32B", "Qwen2.5 32B", _dense(64, 5120, 40, 8, 27648, 152064)),
    SizeClass("70B", "Llama 3.1 70B", _dense(80, 8192, 64, 8, 28672, 128256)),
)


MOST_BILLIONS = 2000.0


def of(billions: float) -> SizeClass:
    """Return the class of models with so many parameters, in billions: a usual one, or the nearest with as many layers
    as make up the difference."""
    wanted = min(max(billions, 0.1), MOST_BILLIONS)
    if (usual := next((one for one in CLASSES if one.name == f"{wanted:g}B"), None)) is not None:
        return usual
    dense = [one for one in CLASSES if "num_experts" not in one.config]
    near = min(dense, key=lambda one: abs(math.log(_parameters(one.config) / 1e9 / wanted)))
    kept = near.config["num_hidden_layers"]
    one_layer = (_parameters(near.config) - _parameters({**near.config, "num_hidden_layers": 0})) / kept
    layers = max(1, round(kept + (wanted * 1e9 - _parameters(near.config)) / one_layer))
    return SizeClass(f"{wanted:g}B", f"{near.like}, {layers} layers", {**near.config, "num_hidden_layers": layers})


def with_size(asked: SizeClass | None) -> list[SizeClass]:
    """Return the usual classes, and the class that was `asked` for in its place among them."""
    found = dict.fromkeys((*CLASSES, *([asked] if asked else [])))
    return sorted(found, key=lambda one: _parameters(one.config))


def _parameters(config: Mapping[str, Any]) -> int:
    return sum(tensor.elements for tensor in _tensors(config))


def needs(size: SizeClass, types: Sequence[str], contexts: Sequence[int], parallel: int) -> Needs:
    """Compute the needs of a model of this class in each of the GGUF `types`, for `parallel` chats."""
    rules = {name: formula.gguf(name) for name in types}
    sampled = sorted({*CONTEXTS, *contexts})
    shapes = tuple(_tensors(size.config))
    return formula.needs(size.config, shapes, rules, method="gguf", contexts=sampled, parallel=parallel)


def _tensors(config: Mapping[str, Any]) -> Iterator[TensorShape]:
    width, words = config["hidden_size"], config["vocab_size"]
    yield TensorShape("model.embed_tokens.weight", "BF16", (words, width))
    if not config.get("tie_word_embeddings"):
        yield TensorShape("lm_head.weight", "BF16", (words, width))
    for layer in range(config["num_hidden_layers"]):
        for name, shape in _layer(config):
            yield TensorShape(f"model.layers.{layer}.{name}.weight", "BF16", shape)


def _layer(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, ffn = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or width // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "self_attn.q_proj", (queries, width)
    yield "self_attn.k_proj", (keys, width)
    yield "self_attn.v_proj", (keys, width)
    yield "self_attn.o_proj", (width, queries)
    stack, place = ((config["num_experts"],), "mlp.experts") if "num_experts" in config else ((), "mlp")
    yield f"{place}.gate_proj", (*stack, ffn, width)
    yield f"{place}.up_proj", (*stack, ffn, width)
    yield f"{place}.down_proj", (*stack, width, ffn)
