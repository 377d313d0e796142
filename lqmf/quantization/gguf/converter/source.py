"""The check whether a folder is a model that can and may be converted. Reads its JSON and its weight files' headers
only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lqmf.errors import IncompleteModel, UnsafeFormat, UnsupportedModel
from lqmf.quantization.gguf.converter.toolchain import Toolchain

_AGAIN = "Download the model again."
_LONGEST_HEADER = 100_000_000  # bytes: the safetensors library's own limit
_MOST = {r"layers?$": 4096, r"vocab(_size)?$": 1 << 22}  # of what the converter makes lists of, by the key


def inspect(source: Path, tools: Toolchain, *, tokenizer: bool = True) -> None:
    """Refuse a folder that cannot or must not be converted; with `tokenizer`, also a folder that has no tokenizer.

    Raises IncompleteModel, UnsafeFormat, UnsupportedModel.
    """
    config = _json(source / "config.json")
    _refuse_absurd(config)
    _refuse_unknown(architecture_of(config), tools)
    _weights(source)
    if tokenizer and not has_tokenizer(source):
        raise IncompleteModel(f"{source.name} has no tokenizer.", _AGAIN)


def has_tokenizer(source: Path) -> bool:
    """Return whether the folder `source` holds a tokenizer's files."""
    files = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
    return any((source / file).is_file() for file in files)


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


def _refuse_absurd(config: Mapping[str, Any]) -> None:
    """Refuse numbers no model has, with which the converter would fill the memory."""
    parts = [config, *(part for part in config.values() if isinstance(part, Mapping))]
    for key, value in (pair for part in parts for pair in part.items()):
        most = next((limit for end, limit in _MOST.items() if re.search(end, key)), None)
        if most is not None and isinstance(value, int) and value > most:
            raise UnsupportedModel(f"config.json says {key} {value:,}, which no model has.", "Choose another model.")


def _weights(source: Path) -> None:
    index = source / "model.safetensors.index.json"
    if index.is_file():
        places = _json(index).get("weight_map")
        if not isinstance(places, Mapping) or not places:
            raise IncompleteModel(f"{index.name} names no weights.", _AGAIN)
        for shard in sorted(set(map(str, places.values()))):
            if Path(shard).name != shard:
                raise UnsafeFormat(
                    f"The weight index of {source.name} points outside its folder ({shard!r}).", "Choose another model."
                )
            if not (source / shard).is_file():
                raise IncompleteModel(f"{source.name} lacks the weight file {shard}.", _AGAIN)
            _refuse_cut(source / shard)
        return
    if files := sorted(source.glob("model*.safetensors")):
        for file in files:
            _refuse_cut(file)
        return
    if any(source.glob("*.bin")) or any(source.glob("*.pt")):
        raise UnsafeFormat(
            f"The weights of {source.name} are pickled Python objects, which can run code when read.",
            "Choose a model, or a revision of it, that has safetensors files.",
        )
    raise IncompleteModel(f"{source.name} has no weights (model*.safetensors).", _AGAIN)


def _refuse_cut(file: Path) -> None:
    """Refuse a file that does not end where its own header says (the safetensors format: eight bytes of length, that
    many of JSON with each tensor's place, then the tensors)."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        header = handle.read(length) if length <= min(_LONGEST_HEADER, size) else b""
    try:
        ends = [tensor["data_offsets"][1] for name, tensor in json.loads(header).items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise IncompleteModel(f"{file.name} is not a sound safetensors file.", _AGAIN) from error
    if not all(isinstance(end, int) for end in ends) or 8 + length + max(ends, default=0) != size:
        raise IncompleteModel(f"{file.name} is cut off, or holds more than its header says.", _AGAIN)


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
