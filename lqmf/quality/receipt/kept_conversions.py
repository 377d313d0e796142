"""Keeps how far a conversion is from its model, since every artifact of the model asks for it again: by both models'
files, the text, and the versions of all that takes part. Runs no model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lqmf import workspace
from lqmf.errors import LqmfError
from lqmf.model_files import safetensors_header, selection
from lqmf.model_files.gguf_files import model_file
from lqmf.version import VERSION

_FORMAT = 1  # of what is kept
_SAMPLES, _SAMPLE_BYTES = 64, 4096  # of a file of weights, that tell it from another


def told(source: Path, base: Path, text: Path, windows: int) -> dict[str, Any] | None:
    """Return the receipt's `conversion` of `base`, a GGUF made of the folder `source`, measured before on as many
    windows of `text`; None where it was not, or what names it cannot be read."""
    try:
        return workspace.kept_json(_place(source, base, text, windows)) or None
    except (OSError, LqmfError):
        return None


def keep(source: Path, base: Path, text: Path, windows: int, found: Mapping[str, Any]) -> None:
    """Keep `found` for `told`. Raises OSError, LqmfError."""
    workspace.keep_json(_place(source, base, text, windows), found)


def _place(source: Path, base: Path, text: Path, windows: int) -> Path:
    base, seen = model_file(base), hashlib.sha256()
    versions = [version(name) for name in ("llama-cpp-python", "transformers", "torch")]
    read = hashlib.sha256(text.read_bytes()).hexdigest()
    seen.update(json.dumps([_FORMAT, VERSION, versions, read, windows]).encode())
    for file in (source / selection.CONFIG, *safetensors_header.weights(source), base):
        changed = file.stat().st_mtime_ns if file != base else 0  # which is made anew each time
        seen.update(f"{file.name} {file.stat().st_size} {changed}".encode())
        for sample in _samples(file):
            seen.update(sample)
    return workspace.measured_dir() / "conversions" / f"{seen.hexdigest()[:40]}.json"


def _samples(file: Path) -> Iterator[bytes]:
    """Pieces of a file, evenly spread."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        for number in range(_SAMPLES):
            opened.seek(number * max(0, size - _SAMPLE_BYTES) // max(1, _SAMPLES - 1))
            yield opened.read(_SAMPLE_BYTES)
