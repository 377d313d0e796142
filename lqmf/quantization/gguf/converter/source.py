"""The check whether a folder is a model that can and may be converted. Reads its JSON and its weight files' headers
only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lqmf.errors import IncompleteModel, UnsupportedModel
from lqmf.model_files import config_check, safetensors_header, selection
from lqmf.quantization.gguf.converter import tensor_names
from lqmf.quantization.gguf.converter.toolchain import Toolchain

_AGAIN = "Download the model again."


def inspect(source: Path, tools: Toolchain, *, tokenizer: bool = True) -> None:
    """Refuse a folder that cannot or must not be converted; with `tokenizer`, also a folder that has no tokenizer.

    Raises IncompleteModel, UnsafeFormat, UnsupportedModel.
    """
    config = _json(source / "config.json")
    config_check.refuse(config)
    _refuse_unknown(architecture_of(config), tools)
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


def _refuse_unknown(architecture: str | None, tools: Toolchain) -> None:
    if architecture is None:
        raise UnsupportedModel("config.json names no architecture.", "Choose a model with a complete config.json.")
    if architecture not in tools.architectures():
        raise UnsupportedModel(
            f"llama.cpp's converter ({tools.version}) does not know the architecture {architecture}.",
            "Choose another model, another method, or a newer llama-cpp-python.",
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
