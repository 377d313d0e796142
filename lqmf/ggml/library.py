"""Loads the llama.cpp library, keeps its log, and turns its refusals into errors. Knows no engine.

llama.cpp gives the reason for a refusal only in its log, so the last lines of that log are kept for the error message.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import logging
import os
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import Any

from lqmf.errors import GpuOutOfMemory, LqmfError, ModelError, NotBuilt, OutOfMemory, UnsupportedModel

PACKAGE = "llama-cpp-python"
REMEDY = "`lqmf doctor --fix` builds it for this processor: 5 to 8 minutes on 2 cores."
log = logging.getLogger("lqmf.llama.cpp")
_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING}  # ggml's INFO, WARN, ERROR: one step quieter here
_said: deque[str] = deque(maxlen=40)


@lru_cache(maxsize=1)
def _log_callback() -> Any:
    """The C callback, made once and kept for good: the library holds its address."""
    from llama_cpp import llama_cpp

    def take(level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
        line = text.decode("utf-8", "replace").rstrip()
        if line.strip(". "):
            _said.append(line)
            log.log(_LEVELS.get(level, logging.DEBUG), "%s", line)

    return llama_cpp.llama_log_callback(take)


def load() -> Any:
    """Return the low-level module of llama-cpp-python, its log sent to LQMF's. Raises NotBuilt if it cannot be
    loaded."""
    try:
        from llama_cpp import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:
        raise NotBuilt(f"llama.cpp cannot be loaded: {error}", REMEDY) from error
    llama_cpp.llama_log_set(_log_callback(), ctypes.c_void_p(0))
    _start()
    return llama_cpp


@lru_cache(maxsize=1)
def _start() -> None:
    from llama_cpp import llama_cpp

    llama_cpp.llama_backend_init()


def tokens(lib: Any, vocab: Any, text: str, *, frame: bool, special: bool) -> list[int]:
    """Return the token ids of `text` in `vocab`. `frame` puts the special tokens around it that belong there; with
    `special`, special tokens that are spelt out in `text` are read as such."""
    data = text.encode("utf-8", "replace")
    room = len(data) + 8
    buffer = (lib.llama_token * room)()
    count = lib.llama_tokenize(vocab, data, len(data), buffer, room, frame, special)
    if count < 0:  # more tokens than bytes: a tokenizer that normalizes to longer text
        buffer = (lib.llama_token * -count)()
        count = lib.llama_tokenize(vocab, data, len(data), buffer, -count, frame, special)
    return list(buffer[:count])


def installed_version() -> str | None:
    """Return the version of the installed llama-cpp-python, without importing it; None if it is not installed."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None


def version() -> str:
    """Return the name of this engine in a receipt, "llama.cpp 0.3.36", by the version of the Python package. Raises
    PackageNotFoundError if it is not installed."""
    return f"llama.cpp {importlib.metadata.version(PACKAGE)}"


def threads() -> int:
    """Return the number of threads to run: OMP_NUM_THREADS if set, else the real cores that this process may use.
    Threads that wait for one another spin: more of them than cores makes a model slower by an order of magnitude."""
    import psutil

    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    logical = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    return max(1, min(psutil.cpu_count(logical=False) or logical, allowed, _quota(Path("/sys/fs/cgroup/cpu.max"))))


def _quota(cpu_max: Path) -> int:
    """The cores that a container may use ("200000 100000" is two); very many where there is no limit."""
    try:
        quota, period = cpu_max.read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return 1 << 10


def open_model(path: Path, doing: str, **settings: Any) -> Any:
    """Return llama.cpp's model of the file, loaded with these of its parameters. Raises the `refusal` to do `doing`."""
    lib = load()
    asked = lib.llama_model_default_params()
    for name, value in settings.items():
        setattr(asked, name, value)
    _said.clear()
    if not (model := lib.llama_model_load_from_file(os.fsencode(path), asked)):
        raise refusal(doing)
    return model


def new_context(model: Any, asked: Any, doing: str) -> Any:
    """Return a context of the model with the parameters `asked`. Raises the `refusal` to do `doing`."""
    _said.clear()
    if not (context := load().llama_init_from_model(model, asked)):
        raise refusal(doing)
    return context


def refusal(what: str) -> LqmfError:
    """Return the error that a NULL from llama.cpp stands for, read from its log; `what` names the action that was
    tried. The error is UnsupportedModel, OutOfMemory, GpuOutOfMemory or ModelError."""
    told = [line for line in _said if any(word in line.lower() for word in _TELLING)]
    detail = "; ".join(told[-2:]) or (_said[-1] if _said else "it gave no reason")
    lowered = detail.lower()
    message = f"llama.cpp could not {what}: {detail}"
    if "unknown model architecture" in lowered or "unknown pre-tokenizer" in lowered:
        return UnsupportedModel(message, "pip install -U llama-cpp-python, or choose another model.")
    if "alloc" in lowered or "out of memory" in lowered:
        on_gpu = any(name in lowered for name in ("cuda", "vulkan", "metal", "hip"))
        remedy = "Use --device cpu, or a shorter --context." if on_gpu else "Use a shorter --context, or fewer bits."
        return (GpuOutOfMemory if on_gpu else OutOfMemory)(message, remedy)
    return ModelError(message, "lqmf verify NAME shows whether the file is damaged; else get or make it again.")


_TELLING = ("error", "fail", "unable", "unknown", "invalid", "missing", "corrupt", "out of memory", "not within")
