"""What stands for the source when an artifact is compared: 16 bits, or 8 where memory is short. Knows headers."""

from __future__ import annotations

from pathlib import Path

from lqmf.model_files import safetensors_folder
from lqmf.model_files.gguf_files import model_file
from lqmf.model_files.gguf_header import read_header

EXACT = ("F32", "F16", "BF16", "float32", "float16", "bfloat16")


def kind(path: Path) -> str:
    """The type of the source's weights there: llama.cpp's name of it in a GGUF ("F16", "Q8_0"), else the one in the
    safetensors files ("bfloat16"). Raises ModelError, NotFound."""
    if path.is_dir() and safetensors_folder.is_model(path):
        return safetensors_folder.stored(path).dtype
    return read_header(model_file(path)).type


def is_exact(kind: str) -> bool:
    """Whether weights of this type are the source's own, not rounded to fewer bits."""
    return kind in EXACT
