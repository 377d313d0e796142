"""The check whether a folder is a model that can and may be converted. Reads its JSON and its weight files' headers
only."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lqmf.errors import IncompleteModel, UnsupportedModel
from lqmf.model_files import config_check, safetensors_header, selection
from lqmf.quantization import refusals
from lqmf.quantization.gguf.converter import tensor_names
from lqmf.quantization.gguf.converter.toolchain import Toolchain

_AGAIN = "Download the model again."


def inspect(source: Path, tools: Toolchain, *, tokenizer: bool = True) -> None:
    """Refuse a folder that cannot or must not be converted; with `tokenizer`, also a folder that has no tokenizer.

    Raises IncompleteModel, UnsafeFormat, UnsupportedModel.
    """
    config = _json(source / "config.json")
    config_check.refuse(config)
    _refuse_unknown(config, tools)
    _refuse_other_names(safetensors_header.weights(source))
    names = [tensor.name for tensor in safetensors_header.tensors(source)]  # of files that are whole
    tensor_names.refuse(source.name, config, names)
    if tokenizer and not has_tokenizer(source):
        raise IncompleteModel(f"{source.name} has no tokenizer.", _AGAIN)


def has_tokenizer(source: Path) -> bool:
    """Return whether the folder `source` holds a tokenizer's files."""
    return any(selection.is_tokenizer(file.name) for file in source.iterdir() if file.is_file())


def architecture_of(config: Mapping[str, Any]) -> str | None:
    """Return the architecture that the converter goes by: the text part's where a model has several parts; None if none
    is named."""
    inner = config.get("text_config")
    names = (inner.get("architectures") if isinstance(inner, Mapping) else None) or config.get("architectures")
    return str(names[0]) if isinstance(names, list | tuple) and names else None


def _refuse_unknown(config: Mapping[str, Any], tools: Toolchain) -> None:
    architecture = architecture_of(config)
    if architecture is None:
        verdict = refusals.unnamed(config)
        raise UnsupportedModel(verdict.reason, verdict.remedy)
    if architecture not in tools.architectures():
        raise UnsupportedModel(
            f"llama.cpp's converter ({tools.version}) does not know the architecture {architecture}.",
            "Choose another model, another method, or a newer llama-cpp-python.",
        )


def _refuse_other_names(weights: Sequence[Path]) -> None:
    """Refuse files that the converter does not see."""
    if (other := next((file for file in weights if not file.name.startswith("model")), None)) is None:
        return
    way = f"Rename it: `mv {shlex.quote(str(other))} {shlex.quote(str(other.with_name('model.safetensors')))}`."
    raise IncompleteModel(
        f"The weights are called {other.name}, and llama.cpp's converter reads model*.safetensors alone.",
        way
        if len(weights) == 1
        else "Save the model again under transformers' own names (`model.save_pretrained(..)`).",
    )


def _json(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise IncompleteModel(f"{path.parent.name} has no {path.name}.", _AGAIN) from error
    except ValueError as error:
        raise IncompleteModel(f"{path.name} is not valid JSON: {error}.", _AGAIN) from error
    if not isinstance(document, dict):
        raise IncompleteModel(f"{path.name} does not hold a JSON object.", _AGAIN)
    return document
