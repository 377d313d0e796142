"""The official route, with nothing of LQMF in it: llama.cpp's converter as a script, and `llama_model_quantize`.

Run as a script it is the converter with one thing decided for it: the pre-tokenizer of a tokenizer it does not know.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import subprocess
import sys
from pathlib import Path

from lqmf.quantization.gguf.converter import toolchain


def f16(model: Path, outfile: Path, pre: str) -> Path:
    """`model` as the official converter writes it in F16, its pre-tokenizer said to be `pre`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, str(toolchain.ensure().root), pre, str(model), str(outfile)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return outfile


def quantized(source: Path, target: Path, ftype: int) -> Path:
    """`source` quantized by the library with its default parameters."""
    from llama_cpp import llama_cpp as lib

    parameters = lib.llama_model_quantize_default_params()
    parameters.ftype = ftype
    assert lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters)) == 0
    return target


def tensors(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Every tensor of a GGUF file: its type, its shape and its bytes."""
    from lqmf.model_files.gguf_header import read_header

    header, data = read_header(path), path.read_bytes()
    start = header.data_offset
    return {t.name: (t.type, t.shape, data[start + t.offset : start + t.offset + t.size_bytes]) for t in header.tensors}


def _converter(root: str, pre: str, model: str, outfile: str) -> None:
    sys.path[:0] = [root, f"{root}/gguf-py"]
    from conversion import base

    base.TextModel.get_vocab_base_pre = lambda _model, _tokenizer: pre
    sys.argv = ["convert_hf_to_gguf.py", model, "--outtype", "f16", "--outfile", outfile]
    runpy.run_path(f"{root}/convert_hf_to_gguf.py", run_name="__main__")


if __name__ == "__main__":
    _converter(*sys.argv[1:])
