"""Describes a folder of safetensors weights by its configuration and the weights' headers alone: the files with
weights, how they are quantized, how many bits a weight takes. Knows no engine and reads no weights.

Weights that are quantized already are declared in one of three places: `quantization_config` in config.json
(transformers), or a file beside it, `quantize_config.json` (auto-gptq) or `quant_config.json` (AutoAWQ).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from lqmf.declared import methods
from lqmf.errors import IncompleteModel
from lqmf.model_files import safetensors_header, selection
from lqmf.model_files.prequantized import quantized
from lqmf.model_files.safetensors_header import TensorShape

ASIDE: Mapping[str, str] = {"quantize_config.json": "gptq", "quant_config.json": "awq"}  # file beside config.json
WIDENED = ("fp8", "mxfp4")  # what transformers widens to 16 bits where no GPU computes in them
DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_DTYPES: Mapping[str, str] = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_AGAIN = "Get the folder again; `lqmf verify NAME` says which file differs."
# how the names begin of what stands beside quantized weights: GPTQ and AWQ, then bitsandbytes, then FP8
_OVERHEAD = (
    "qzeros", "scales", "g_idx", "SCB", "weight_format", "absmax", "quant_map", "nested_", "weight_scale",
)  # fmt: skip


@dataclass(frozen=True)
class Scheme:
    """The quantization of a folder's weights: `method` is "gptq", "bnb", "awq" or the configuration's own word ("fp8"),
    `type` is "nf4", "fp4" or "int8" for bitsandbytes; `group` weights share a scale (None: not given). `told` is the
    quantization config as the files have it."""

    method: str
    bits: int
    type: str
    group: int | None
    told: Mapping[str, Any]


def config(folder: Path) -> dict[str, Any]:
    """Return the folder's config.json. Raises IncompleteModel if it is missing or no JSON object."""
    try:
        return _object(folder / selection.CONFIG)
    except FileNotFoundError as error:
        raise IncompleteModel(f"{folder.name} has no config.json.", _AGAIN) from error


def scheme(folder: Path) -> Scheme | None:
    """Return the quantization of the weights in `folder`; None if they are not quantized. Raises IncompleteModel if
    config.json is missing."""
    told = dict(quantized(config(folder))) or _told_aside(folder)
    return scheme_of(told) if told else None


def scheme_of(told: Mapping[str, Any]) -> Scheme:
    """Return the Scheme that a `quantization_config` describes."""
    method = str(told.get("quant_method") or ("bitsandbytes" if _bnb_type(told) else "unknown"))
    type_ = _bnb_type(told) if method == "bitsandbytes" else ""
    bits = _whole(told.get("bits", told.get("w_bit"))) or _WIDTHS.get(type_ or method) or 0
    group = _whole(told.get("group_size", told.get("q_group_size")))
    return Scheme(methods.marked(method), bits, type_, group if group and group > 0 else None, told)


_WIDTHS: Mapping[str, int] = {"int8": 8, "nf4": 4, "fp4": 4, "fp8": 8, "mxfp4": 4, "awq": 4}


def _bnb_type(told: Mapping[str, Any]) -> str:
    if told.get("load_in_8bit") or told.get("_load_in_8bit"):
        return "int8"
    four = told.get("load_in_4bit") or told.get("_load_in_4bit")
    return str(told.get("bnb_4bit_quant_type") or "fp4") if four else ""  # fp4 is transformers' own default


def _told_aside(folder: Path) -> dict[str, Any]:
    """Return the quantization config in a file beside config.json, in the form of a `quantization_config`; empty
    without it."""
    for name, method in ASIDE.items():
        if (folder / name).is_file():
            return {"quant_method": method, **_object(folder / name)}
    return {}


# ---------------------------------------------------------------- weights


def is_model(folder: Path) -> bool:
    """Return whether `folder` has a config.json and weights in safetensors files (or in pickles, which LQMF never
    opens)."""
    if not (folder / selection.CONFIG).is_file():
        return False
    return any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))


@dataclass(frozen=True)
class Stored:
    """The weights as the files store them: `tensor_bytes` without the headers, `parameters` the number of weights,
    `dtype` the type of weights that are not quantized ("bfloat16"), `method` that of the quantized weights (None: there
    are none)."""

    tensor_bytes: int
    parameters: int
    dtype: str
    method: str | None

    @property
    def bits_per_weight(self) -> float | None:
        """Return the bits of file per weight, scales and all else included, over all of the model's weights; None
        without weights."""
        return 8.0 * self.tensor_bytes / self.parameters if self.parameters else None

    @property
    def stays_quantized(self) -> bool:
        """Return whether the weights are in memory as they are in the files; else they are floats, perhaps widened
        ones."""
        return self.method is not None and self.method not in WIDENED

    def loaded_bytes(self, dtype: str) -> int:
        """Return the bytes that the weights take in memory: as in the files if they stay quantized, else in `dtype`."""
        return self.tensor_bytes if self.stays_quantized else self.parameters * DTYPE_BYTES[dtype]


def stored(folder: Path) -> Stored:
    """Return the sizes and types of the weights in `folder`, read from their headers. Raises IncompleteModel,
    UnsafeFormat."""
    tensors, how = safetensors_header.tensors(folder), scheme(folder)
    names = {tensor.name for tensor in tensors}
    weights = int(sum(tensor.elements * _held(tensor, how, names) for tensor in tensors))
    counts: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor.dtype] += tensor.elements if tensor.dtype in _DTYPES else 0
    dtype = _DTYPES.get(counts.most_common(1)[0][0] if counts else "", "float32")
    size = sum(tensor.size_bytes for tensor in tensors)
    return Stored(size, weights, dtype, how.method if how else None)


def _held(tensor: TensorShape, how: Scheme | None, names: set[str]) -> Fraction:
    """How many weights one element of `tensor` holds: eight 4-bit ones in a 32-bit word, none in a scale."""
    last = tensor.name.rpartition(".")[2]
    if how is None:
        return Fraction(1)
    if last == "qweight":
        return Fraction(32, how.bits or 4)
    if f"{tensor.name}.absmax" in names or last.endswith("_blocks"):
        return Fraction(2)
    beside = last.startswith(_OVERHEAD) or last.endswith("_scales") or ".quant_state." in tensor.name
    return Fraction(0 if beside else 1)


def matrices(folder: Path) -> Iterator[tuple[TensorShape, Path, int]]:
    """Yield each weight tensor with two or more dimensions above 1, its file, and the byte of the file at which it
    begins. Zero points are left out: they may rightly be zero. Raises IncompleteModel, UnsafeFormat."""
    for file in safetensors_header.weights(folder):
        header = safetensors_header.read(file)
        for tensor in header.tensors:
            if len([n for n in tensor.shape if n > 1]) >= 2 and not tensor.name.endswith("qzeros"):
                yield tensor, file, header.begin + tensor.begin


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in the file at `path`. Raises FileNotFoundError, IncompleteModel."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise IncompleteModel(f"{path.name} of {path.parent.name} is not valid JSON.", _AGAIN) from error
    if not isinstance(document, dict):
        raise IncompleteModel(f"{path.name} of {path.parent.name} holds no JSON object.", _AGAIN)
    return document


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
