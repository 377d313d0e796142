"""Finds the GGUF model in a folder. Standard library only; knows no engine."""

from __future__ import annotations

import re
from pathlib import Path

from lqmf.errors import NotFound, UsageError

_LATER_SHARD = re.compile(r"-(?!00001-of-)\d{5}-of-\d{5}\.gguf$")


def is_gguf(path: Path) -> bool:
    """Return whether `path` is a readable file that begins with GGUF's magic bytes."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def holds_gguf(path: Path) -> bool:
    """Return whether `path` is a GGUF file, or a folder with a GGUF model."""
    return bool(model_files(path)) if path.is_dir() else is_gguf(path)


def model_files(folder: Path) -> list[Path]:
    """Return the GGUF models of a folder, sorted: a split model counts once (its first file), image projectors do not
    count."""
    return sorted(
        file
        for file in folder.glob("*.gguf")
        if not file.name.startswith((".", "mmproj")) and not _LATER_SHARD.search(file.name)
    )


def model_file(path: Path) -> Path:
    """Return the only GGUF model at `path`, a file or a folder. Raises NotFound for no model, UsageError for several
    models."""
    if path.is_file():
        return path
    found = model_files(path)
    if not found:
        raise NotFound(f"There is no GGUF file at {path}.", "lqmf test discover")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise UsageError(f"{path.name} holds several GGUF files: {names}.", f"Name one of them: {found[0]}")
    return found[0]
