"""A LoRA adapter, as PEFT saves it, merged into a model's weights while the converter reads them.

W becomes W + scale * (B @ A), in 32-bit floats, before anything else is done to it; scale is alpha / r, or
alpha / sqrt(r) where the adapter says so (Hu et al. 2021, arXiv:2106.09685; Kalajdzievski 2023, arXiv:2312.03732).
Knows Hugging Face's names of weights; nothing of GGUF's.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf.errors import IncompleteModel, UnsupportedModel, UsageError

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_LORA = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_(embedding_)?([AB])(?:\.default)?(?:\.weight)?")
_ANOTHER = "Give the adapter of this very model, or leave --adapter out."


@dataclass(frozen=True)
class Pair:
    """The two matrices whose product is added to one weight: `a` is (r, inputs), `b` (outputs, r), `scale` their
    factor; `turned` if the weight is stored as (inputs, outputs)."""

    a: Any
    b: Any
    scale: float
    turned: bool

    @property
    def shape(self) -> tuple[int, ...]:
        shape = (int(self.b.shape[0]), int(self.a.shape[1]))
        return shape[::-1] if self.turned else shape

    def added_to(self, weight: Any) -> Any:
        """Return `weight` with the adapter added to it, as 32-bit floats."""
        import torch

        change = (self.b.to(torch.float32) @ self.a.to(torch.float32)) * self.scale
        return weight.to(torch.float32) + (change.T if self.turned else change)


def check(folder: Path) -> Mapping[str, Any]:
    """Return the adapter's configuration. Raises IncompleteModel for a file that is missing or not valid,
    UnsupportedModel for an adapter that is no plain LoRA."""
    for name in (_CONFIG, _WEIGHTS):
        if not (folder / name).is_file():
            raise IncompleteModel(f"The adapter {folder.name} has no {name}.", "Give a folder that PEFT saved.")
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise IncompleteModel(f"{_CONFIG} of the adapter is not valid JSON: {error}.", "Save it again.") from error
    told = [
        ("peft_type", config.get("peft_type", "LORA") != "LORA"), ("use_dora", bool(config.get("use_dora"))),
        ("lora_bias", bool(config.get("lora_bias"))), ("bias", config.get("bias", "none") != "none"),
        ("modules_to_save", bool(config.get("modules_to_save"))),
    ]  # fmt: skip
    for key, odd in told:
        if odd:
            raise UnsupportedModel(
                f"The adapter is no plain LoRA ({key} is {config[key]}), and only those can be merged on the way.",
                "Merge it with PEFT (`merge_and_unload`) first.",
            )
    return config  # type: ignore[no-any-return]


def fingerprint(folder: Path) -> str:
    """Return the SHA-256, in hexadecimal, of the adapter's configuration and weights."""
    seen = hashlib.sha256((folder / _CONFIG).read_bytes())
    with (folder / _WEIGHTS).open("rb") as file:
        while data := file.read(1 << 20):
            seen.update(data)
    return seen.hexdigest()


def pairs(folder: Path) -> dict[str, Pair]:
    """Return the matrices to add to each weight, by Hugging Face's name of the weight. Raises as `check` does."""
    from safetensors.torch import load_file

    config, halves, turned = check(folder), dict[str, dict[str, Any]](), set[str]()
    for name, tensor in load_file(folder / _WEIGHTS).items():
        found = _LORA.fullmatch(name)
        if found is None:
            raise UnsupportedModel(
                f"The adapter holds {name}, which is no LoRA matrix.", "Merge it with PEFT (`merge_and_unload`) first."
            )
        halves.setdefault(found[1], {})[found[3]] = tensor
        if found[2] or config.get("fan_in_fan_out"):
            turned.add(found[1])
    if lone := [name for name, half in halves.items() if set(half) != {"A", "B"}]:
        raise IncompleteModel(f"The adapter has only half of what belongs to {lone[0]}.", "Save it again.")
    return {
        f"{module}.weight": Pair(
            half["A"], half["B"], _scale(config, module, int(half["A"].shape[0])), module in turned
        )
        for module, half in halves.items()
    }


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Alpha may differ by module: the first pattern that is the end of the module's name counts, as in PEFT."""
    patterns: Mapping[str, Any] = config.get("alpha_pattern") or {}
    own = (value for key, value in patterns.items() if re.fullmatch(rf"(.*\.)?({key})", module))
    alpha = float(next(own, config.get("lora_alpha", rank)))
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


# ---------------------------------------------------------------- in the converter's process


def take_in(base: Any, found: Mapping[str, Pair]) -> None:
    """Make the converter, whose module `conversion.base` is `base`, read the weights with the adapter merged. Its
    reading then raises UsageError for another model's adapter."""
    official = base.ModelBase.index_tensors

    def index_tensors(model: Any, *args: Any, **kwargs: Any) -> dict[str, Callable[[], Any]]:
        tensors: dict[str, Callable[[], Any]] = official(model, *args, **kwargs)
        for name, pair in found.items():
            item = model.filter_tensors((name, lambda: None))
            if item is None:
                continue
            if item[0] not in tensors:
                raise UsageError(f"The adapter belongs to another model: this one has no {name}.", _ANOTHER)
            tensors[item[0]] = _merging(base, tensors[item[0]], pair, name)
        return tensors

    base.ModelBase.index_tensors = index_tensors


def _merging(base: Any, generate: Callable[[], Any], pair: Pair, name: str) -> Callable[[], Any]:
    def generated() -> Any:
        import torch

        weight, lazy = generate(), base.LazyTorchTensor
        if tuple(weight.shape) != pair.shape:
            raise UsageError(
                f"The adapter belongs to another model: {name} is {tuple(weight.shape)} here, and {pair.shape} there.",
                _ANOTHER,
            )
        meta = lazy.meta_with_dtype_and_shape(torch.float32, weight.shape)
        return lazy(meta=meta, args=(weight,), func=pair.added_to)

    return generated
