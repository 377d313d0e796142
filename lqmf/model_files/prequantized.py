"""Tells which models that are quantized already llama.cpp's converter can widen to 16 bits again.

Source: the converter's own `dequant_model` (conversion/base.py of llama-cpp-python 0.3.36). Knows configurations, no
files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lqmf.model_files import gguf_types
from lqmf.records import Verdict


def unreadable(config: Mapping[str, Any]) -> Verdict | None:
    """Return the refusal of quantized weights that llama.cpp's converter cannot widen; None if it can widen them, or if
    the weights are not quantized."""
    told = quantized(config)
    if not told.get("quant_method") or _readable(told, config):
        return None
    bits = f"{told['bits']} bits" if told.get("bits") else None
    how = ", ".join(str(part) for part in (told["quant_method"], told.get("format"), bits) if part)
    reason = f"Its weights are quantized already ({how}) in a way that llama.cpp's converter cannot read."
    return Verdict("no", reason, "Take the model that it was made from, in 16 bits.")


def frozen(config: Mapping[str, Any], type: str | None) -> Verdict | None:
    """Return the refusal to turn weights that stay MXFP4 in a GGUF into `type`: libllama quantizes no quantized tensor
    again. None if `type` is possible."""
    kept = type in (None, "MXFP4_MOE", *gguf_types.OUTTYPES)
    if kept or quantized(config).get("quant_method") != "mxfp4":
        return None
    reason = f"Its experts are MXFP4 already and stay so: llama.cpp does not quantize them again to {type}."
    return Verdict("no", reason, "Choose MXFP4_MOE.")


def quantized(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration's `quantization_config`; empty if the weights are not quantized."""
    inner = _object(config.get("text_config"))
    return _object(config.get("quantization_config") or inner.get("quantization_config"))


def _object(said: object) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {}


def _readable(told: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    method = told["quant_method"]
    if method == "gptq":
        return told.get("bits") in (2, 4, 8)
    if method == "mxfp4":
        return "GptOss" in str(config.get("architectures"))
    if method == "compressed-tensors":
        return _packed_known(told)
    return method in ("fp8", "bitnet", "modelopt")


def _packed_known(told: Mapping[str, Any]) -> bool:
    """Whether the converter reads this layout of compressed-tensors: one group, of certain shapes, or NVFP4."""
    groups = [_object(group) for group in _object(told.get("config_groups")).values()]
    form = told.get("format")
    if form == "nvfp4-pack-quantized":
        return True
    if form == "mixed-precision":
        return bool(groups) and all(group.get("format") == "nvfp4-pack-quantized" for group in groups)
    if len(groups) != 1:
        return False
    weights = _object(groups[0].get("weights"))
    if form == "pack-quantized":
        return weights.get("strategy") == "group" and weights.get("type", "int") == "int"
    whole = form in ("float-quantized", "int-quantized", "naive-quantized")
    return whole and weights.get("strategy") in ("channel", "block")
