"""One GGUF file becomes a smaller one, by libllama's own `llama_model_quantize`, with its log read as progress.

Runs in the worker process only: libllama aborts the process on a failed assertion. Knows nothing about models'
sources or plans.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lqmf.errors import DiskFull, LqmfError, UnsupportedModel
from lqmf.events import Emit, Progress, StageFinished, StageStarted
from lqmf.quantization.gguf.types import LAYOUTS

_TENSOR = re.compile(r"\[\s*(\d+)/\s*(\d+)\]\s+(\S+)")
_FALLBACK = re.compile(r"(\d+) of (\d+) tensor\(s\) required fallback")
_MAX_BUFFER_BYTES = 256 << 20  # rows are quantized in slabs of this size: same bytes, less memory
_ERROR = 4  # GGML_LOG_LEVEL_ERROR


@dataclass
class _Log:
    """What libllama says while it quantizes: passed on to the job's log, and read for progress."""

    emit: Emit
    total: int = 0
    errors: list[str] = field(default_factory=list)
    fallbacks: int = 0

    def hear(self, level: int, raw: bytes, _user: object) -> None:
        os.write(2, raw)
        text = raw.decode("utf-8", errors="replace")
        if tensor := _TENSOR.match(text):
            done, self.total = int(tensor[1]) - 1, int(tensor[2])
            self.emit(Progress(stage="quantize", done=done, total=self.total, unit="tensors", note=tensor[3]))
        elif fallback := _FALLBACK.search(text):
            self.fallbacks = int(fallback[1])
        elif level == _ERROR and text.strip():
            self.errors.append(text.strip())


def quantize(source: Path, target: Path, type: str, emit: Emit, *, threads: int = 0) -> tuple[str, ...]:
    """Write `source`, a 16-bit GGUF, as `target` in `type`, and sync it. Returns what is worth telling.

    `threads` 0 takes all cores. Raises DiskFull, UnsupportedModel, LqmfError with libllama's last complaint.
    """
    from llama_cpp import llama_cpp as lib

    started = time.monotonic()
    emit(StageStarted(stage="quantize", title=f"Quantizing to {type}"))
    parameters = lib.llama_model_quantize_default_params()
    parameters.ftype = LAYOUTS[type].ftype
    parameters.nthread = threads or os.cpu_count() or 1
    parameters.max_buf_size = _MAX_BUFFER_BYTES
    log = _Log(emit)
    with _listening(log):
        code = lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters))
    if code != 0:
        raise _failure(log, type)
    _sync(target)
    emit(Progress(stage="quantize", done=log.total, total=log.total, unit="tensors"))
    emit(StageFinished(stage="quantize", seconds=time.monotonic() - started))
    misfits = f"{log.fallbacks} tensors have rows that {type} does not fit; they took a larger type."
    return (misfits,) if log.fallbacks else ()


@contextmanager
def _listening(log: _Log) -> Iterator[None]:
    """libllama's log goes to `log` inside; afterwards to where it went before."""
    from llama_cpp import llama_cpp as lib

    before, user = lib.llama_log_callback(), ctypes.c_void_p()
    lib.llama_log_get(ctypes.byref(before), ctypes.byref(user))
    callback = lib.llama_log_callback(log.hear)  # held by this frame for as long as libllama may call it
    lib.llama_log_set(callback, ctypes.c_void_p())
    try:
        yield
    finally:
        lib.llama_log_set(before, user)


def _failure(log: _Log, type: str) -> LqmfError:
    reason = log.errors[-1] if log.errors else "no reason given"
    reason = reason.removeprefix("llama_model_quantize: failed to quantize: ")
    if "No space left" in reason or "basic_ios::clear" in reason or "failed to write" in reason:
        return DiskFull("The disk filled up while the model was quantized.", "Run `lqmf disk` to see what to free.")
    if "importance matrix" in reason:
        return UnsupportedModel(f"{type} needs an importance matrix: {reason}", "Choose a type that needs none.")
    return LqmfError(f"llama.cpp could not quantize this model to {type}: {reason}", "The job's log says more.")


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
