"""What the names of a model's tensors tell before anything is converted: weights that are packed in a way which
config.json does not say, and layers that config.json does not have.

The converter would answer each with an assertion of its own. Pure: names and a configuration in, an error out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from lqmf.errors import IncompleteModel, UnsupportedModel
from lqmf.model_files.config import text_part
from lqmf.model_files.prequantized import quantized
from lqmf.quantization.gguf.converter.compat import PREDICTION_LAYERS

_ORIGINAL = "Take the model that it was made from, in 16 bits: `lqmf quantize ORG/NAME`."
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_IN_A_LAYER = re.compile(r"(?P<stack>.*?)\.(?P<number>\d+)\.")
_OTHER_STACKS = ("vision", "visual", "audio", "mtp", "encoder", "decoder", "expert")


def refuse(name: str, config: Mapping[str, Any], tensors: Collection[str]) -> None:
    """Raises UnsupportedModel for packed weights that the converter cannot unpack, IncompleteModel for layers that are
    missing, UnsupportedModel for more layers than config.json says. `name` is what a person calls the model."""
    if packed := _packed(config, tensors):
        raise UnsupportedModel(f"The weights of {name} are {packed}.", _ORIGINAL)
    found, said = _layers(tensors), _said(config)
    if found is None or said is None or found == said:
        return
    told = f"config.json of {name} says {said} layers, its weights have {found}"
    if found < said:
        raise IncompleteModel(f"{told}.", "Get the missing shards, or the config.json that belongs to these weights.")
    if not _predicts_ahead(config):
        raise UnsupportedModel(
            f"{told}: transformers leaves the others out, llama.cpp's converter does not.",
            f"Save it again without them (`AutoModelForCausalLM.from_pretrained(..).save_pretrained(..)`), or set the "
            f"number in config.json to {found}.",
        )


def lacks_prediction_layers(config: Mapping[str, Any], tensors: Collection[str]) -> bool:
    """Whether `config` names layers that predict further tokens, and none of `tensors` belongs to one: transformers
    leaves them out when it saves a model."""
    found, said = _layers(tensors), _said(config)
    named = any(text_part(config).get(key) for key in PREDICTION_LAYERS)
    unsaid = not any(part in name for name in tensors for part in ("mtp", "nextn"))
    return named and unsaid and found is not None and found == said


def _packed(config: Mapping[str, Any], tensors: Collection[str]) -> str:
    """How the weights are packed, where nothing that the converter reads says so; empty where they are not."""
    ends = {name.rpartition(".")[2] for name in tensors}
    if {"scales", "biases"} <= ends:
        bits = (config.get("quantization") or {}).get("bits")
        return f"quantized by MLX{f' ({bits} bits)' if bits else ''}, which llama.cpp's converter cannot read"
    told = quantized(config).get("quant_method")
    if "SCB" in ends or any(name.endswith((".absmax", ".quant_map")) for name in tensors):
        unsaid = "" if told else ", though config.json does not say so"
        return f"packed by bitsandbytes{unsaid}; llama.cpp's converter cannot read them"
    if "qweight" in ends and told == "gptq" and "g_idx" not in ends:
        return "quantized by GPTQ without g_idx, which llama.cpp's converter needs"
    return ""


def _layers(tensors: Collection[str]) -> int | None:
    """How many layers the largest stack of them has; None where the names do not tell."""
    stacks: dict[str, set[int]] = defaultdict(set)
    counts: dict[str, int] = defaultdict(int)
    for name in tensors:
        match = _IN_A_LAYER.match(name)
        if match and not any(part in match["stack"] for part in _OTHER_STACKS):
            stacks[match["stack"]].add(int(match["number"]))
            counts[match["stack"]] += 1
    if not stacks:
        return None
    return max(stacks[max(counts, key=lambda stack: counts[stack])]) + 1


def _said(config: Mapping[str, Any]) -> int | None:
    found = next((value for key in _LAYERS if isinstance(value := text_part(config).get(key), int)), None)
    return None if config.get("is_encoder_decoder") else found


def _predicts_ahead(config: Mapping[str, Any]) -> bool:
    """Whether layers that predict further tokens may follow the others."""
    return any("nextn" in key or "mtp" in key for key in text_part(config))
