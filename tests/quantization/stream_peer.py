"""The peer's route to compare a stream with: the official converter on several models in one process, then libllama's
quantizer with an importance matrix and the keys that llama-quantize adds for it.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lqmf.model_files import imatrix_file
from lqmf.model_files.gguf_header import GgufHeader, read_header
from lqmf.model_files.imatrix_file import Entry, Imatrix
from lqmf.quantization.gguf.converter import toolchain

DATASET, CHUNKS = "some text", 7


def converted(models: Mapping[str, tuple[Path, str]], folder: Path, outtype: str = "f16") -> dict[str, Path]:
    """Each model (its folder, its pre-tokenizer) as the official converter writes it, called as it is here."""
    jobs = [[name, *map(str, model), str(folder / f"{name}-{outtype}.gguf")] for name, model in models.items()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, str(toolchain.ensure().root), outtype, json.dumps(jobs)]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: Path(outfile) for name, _, _, outfile in jobs}


def quantized(source: Path, target: Path, file_type: int, imatrix: Path | None = None) -> Path:
    """`source` as `llama-quantize [--imatrix FILE]` makes it: its own library, called as tools/quantize.cpp does."""
    from llama_cpp import llama_cpp as lib

    parameters = lib.llama_model_quantize_default_params()
    parameters.ftype = file_type
    if imatrix is not None:
        found = imatrix_file.read(imatrix)
        entries = (lib.llama_model_imatrix_data * (len(found.entries) + 1))()
        kept = []
        for place, (name, entry) in zip(entries, found.entries.items(), strict=False):
            counts = entry.counts[:, None]
            kept.append(np.where(counts > 0, entry.sums / np.maximum(counts, 1), 1).astype(np.float32).ravel())
            place.name, place.size = name.encode(), kept[-1].size
            place.data = kept[-1].ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        said = overrides(lib, imatrix.name, found)
        parameters.imatrix = ctypes.cast(entries, ctypes.POINTER(lib.llama_model_imatrix_data))
        parameters.kv_overrides = ctypes.cast(said, ctypes.POINTER(lib.llama_model_kv_override))
    assert lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters)) == 0
    return target


def overrides(lib: Any, name: str, imatrix: Imatrix) -> Any:
    """The keys that tools/quantize.cpp adds."""
    told = {
        b"quantize.imatrix.file": name, b"quantize.imatrix.dataset": imatrix.datasets[0],
        b"quantize.imatrix.entries_count": len(imatrix.entries), b"quantize.imatrix.chunks_count": imatrix.chunks,
    }  # fmt: skip
    made = (lib.llama_model_kv_override * (len(told) + 1))()
    for place, (key, value) in zip(made, told.items(), strict=False):
        place.key = key
        if isinstance(value, str):
            place.tag, place.value.val_str = lib.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()
        else:
            place.tag, place.value.val_i64 = lib.LLAMA_KV_OVERRIDE_TYPE_INT, value
    return made


def invented_imatrix(model: Path, path: Path) -> Path:
    """An importance matrix for every matrix of a GGUF model, uneven enough to change bytes; the first expert of each
    mixture was never seen."""
    random = np.random.default_rng(5)
    entries = {}
    for tensor in read_header(model).tensors:
        if len(tensor.shape) > 1 and tensor.name != "token_embd.weight":
            matrices = tensor.shape[2] if len(tensor.shape) > 2 else 1
            sums = random.gamma(0.5, 100, (matrices, tensor.shape[0])).astype(np.float32)
            counts = np.full(matrices, 512.0, np.float32)
            if matrices > 1:
                counts[0] = sums[0] = 0
            entries[tensor.name] = Entry(sums, counts)
    imatrix_file.write(Imatrix(entries, (DATASET,), CHUNKS, 512), path)
    return path


def shown(header: GgufHeader) -> list[tuple[str, Any]]:
    """A file's keys in order, and its tensors' names, shapes, types and places; without LQMF's keys."""
    keys = [(key, value) for key, value in header.metadata.items() if not key.startswith("lqmf.")]
    return keys + [(t.name, (t.shape, t.type, t.offset)) for t in header.tensors]


def data(path: Path) -> bytes:
    """All that follows a file's header."""
    with path.open("rb") as file:
        file.seek(read_header(path).data_offset)
        return file.read()


def _convert(root: str, outtype: str, jobs: str) -> None:
    sys.path[:0] = [root, f"{root}/gguf-py"]
    from conversion import base

    from lqmf.quantization.gguf.converter import launcher

    launcher._reconcile(base)  # what the installed transformers no longer says, told to both routes
    for name, model, pre, outfile in json.loads(jobs):
        base.TextModel.get_vocab_base_pre = lambda _model, _tokenizer, pre=pre: pre
        sys.argv = ["convert_hf_to_gguf.py", model, "--outtype", outtype, "--outfile", outfile, "--model-name", name]
        runpy.run_path(f"{root}/convert_hf_to_gguf.py", run_name="__main__")


if __name__ == "__main__":
    _convert(*sys.argv[1:])
