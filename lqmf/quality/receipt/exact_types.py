"""Types of weights that can stand for the source in a comparison: 16 bits, or 8 where memory is short. Knows
headers."""

from __future__ import annotations

from pathlib import Path

from lqmf.model_files import safetensors_folder
from lqmf.model_files.gguf_files import model_file
from lqmf.model_files.gguf_header import read_header

EXACT = ("F32", "F16", "BF16", "float32", "float16", "bfloat16")


def kind(path: Path) -> str:
    """Return the type of the weights at `path`: llama.cpp's name for a GGUF ("F16", "Q8_0"), else the dtype in the
    safetensors files ("bfloat16"). Raises ModelError, NotFound."""
    if path.is_dir() and safetensors_folder.is_model(path):
        return safetensors_folder.stored(path).dtype
    return read_header(model_file(path)).type


def is_exact(kind: str) -> bool:
    """Tell whether weights of the type `kind` are unrounded (16 bits or more)."""
    return kind in EXACT
