"""Binds libggml-base, which llama-cpp-python brings: its functions with types, and how a tensor lies in memory.

ctypes releases the interpreter's lock during every call, so threads run side by side. Worker only: libggml aborts the
process on a wrong call. Source: ggml.h of the llama.cpp in llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from lqmf.errors import NotBuilt, ToolchainError
from lqmf.ggml.library import REMEDY

_FILES = {"darwin": "lib{}.dylib", "win32": "{}.dll"}
_OBJECT_BYTES = 32  # what ggml_tensor_overhead adds to a tensor's own size


class Traits(ctypes.Structure):
    """The first fields of `struct ggml_type_traits`."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    )


class Tensor(ctypes.Structure):
    """`struct ggml_tensor`; `check_layout` compares its size with the installed library."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )


def opened(name: str) -> ctypes.CDLL:
    """Return a library that llama-cpp-python brings ("ggml-base"), its functions without types. Raises NotBuilt if it
    is missing or cannot be loaded."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise NotBuilt("llama-cpp-python is not installed.", REMEDY)
    path = Path(spec.origin).parent / "lib" / _FILES.get(sys.platform, "lib{}.so").format(name)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NotBuilt(f"llama.cpp cannot be loaded: {error}", REMEDY) from error


@lru_cache(maxsize=1)
def library() -> Any:
    """Return libggml-base, its functions with types. Raises NotBuilt if it is not installed."""
    lib = opened("ggml-base")
    address, count, size, kind = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t, ctypes.c_int
    for name, result, arguments in (
        ("ggml_quantize_chunk", size, (kind, address, address, count, count, count, address)),
        ("ggml_validate_row_data", ctypes.c_bool, (kind, address, size)),
        ("ggml_quantize_requires_imatrix", ctypes.c_bool, (kind,)),
        ("ggml_fp32_to_bf16_row_ref", None, (address, address, count)),
        ("ggml_get_type_traits", ctypes.POINTER(Traits), (kind,)),
        ("ggml_backend_tensor_set", None, (address, address, size, size)),
        ("ggml_tensor_overhead", size, ()),
        ("ggml_op_name", ctypes.c_char_p, (kind,)),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def check_layout(remedy: str) -> None:
    """Raise ToolchainError if the installed library's tensors do not have the layout of `Tensor`."""
    if library().ggml_tensor_overhead() != ctypes.sizeof(Tensor) + _OBJECT_BYTES:
        raise ToolchainError(
            "The installed llama.cpp lays out its tensors in a way that this LQMF does not know.",
            f"pip install llama-cpp-python==0.3.36, or {remedy}",
        )
