"""The type that libllama would give each tensor of a file, for several file types at once: `llama_model_quantize` runs
with `dry_run`, and its log is read.

libllama may abort the process, so it is asked in a child (`python -m lqmf.quantization.gguf.mix.dryrun`). The weights
of the file may be holes. The types depend on whether there is an importance matrix, but not on its values
(llama-quant.cpp).
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf import child_process
from lqmf.errors import UnsupportedModel, WorkerDied

_TENSOR = re.compile(r"\[ *\d+/ *\d+\] (\S+) .*\((\w+)\)\n")
_FALLBACK = re.compile(r"(\d+) of \d+ tensor\(s\) required fallback")
_ERROR = 4  # GGML_LOG_LEVEL_ERROR


@dataclass(frozen=True)
class Choice:
    """The types that one file type leads to: the tensors that change, each with its new type's name ("q6_K"), and the
    number of tensors that took a type other than the intended one because their rows do not fit."""

    types: Mapping[str, str]
    fallbacks: int


def ask(file: Path, file_types: Mapping[str, int], folder: Path, *, imatrix: bool) -> dict[str, Choice]:
    """Return libllama's choices for each of `file_types` (names, with llama.cpp's numbers) for the GGUF `file`;
    `folder` is the child's working folder. Raises UnsupportedModel with libllama's reason, WorkerDied."""
    heard: list[Mapping[str, Any]] = []
    request = {"file": str(file), "types": dict(file_types), "imatrix": imatrix}
    code = child_process.run("lqmf.quantization.gguf.mix.dryrun", request, folder, heard.append, quiet=True)
    if code != 0:
        raise WorkerDied(
            f"llama.cpp {child_process.ending(code)} (when asked which types it would choose).",
            "Try again with other programs closed; `lqmf doctor` checks the installation.",
        )
    for told in heard:
        if told["code"] != 0:
            reason = re.sub(r"^\w+: failed to quantize: ", "", told["reason"])
            raise UnsupportedModel(f"llama.cpp would not make {told['type']}: {reason}", "Choose another type.")
    return {told["type"]: Choice(told["tensors"], told["fallbacks"]) for told in heard}


def main() -> int:
    """Make a dry run for every file type of the request, and send the types that its log tells. Return 0."""
    send = child_process.claim_stdout()
    child_process.end_with_parent()
    request = json.loads(sys.argv[1])
    from lqmf.ggml import library

    lib, lines, errors = library.load(), list[str](), list[str]()

    def hear(level: int, raw: bytes, _user: object) -> None:
        lines.append(raw.decode("utf-8", "replace"))
        if level == _ERROR and lines[-1].strip():
            errors.append(lines[-1].strip())

    callback = lib.llama_log_callback(hear)  # held for as long as libllama may call it
    lib.llama_log_set(callback, ctypes.c_void_p())
    for name, file_type in request["types"].items():
        lines.clear()
        code = attempt(lib, request["file"], file_type, imatrix=request["imatrix"])
        log = "".join(lines)
        fallback = _FALLBACK.search(log)
        told = {"tensors": changes(log), "fallbacks": int(fallback[1]) if fallback else 0}
        send({"type": name, "code": code, "reason": errors[-1] if errors else "no reason given", **told})
    return 0


def changes(log: str) -> dict[str, str]:
    """Return the tensors that would change and their new types ("q6_K"), as the log of a dry run tells them."""
    return dict(_TENSOR.findall(log))


def attempt(lib: Any, file: str, file_type: int, *, imatrix: bool) -> int:
    """Make one dry run in this process, and return libllama's code (0: no error). With `imatrix`, a matrix of one value
    is passed: the choice depends only on whether there is a matrix."""
    parameters = lib.llama_model_quantize_default_params()
    parameters.ftype, parameters.dry_run = file_type, True
    value = (ctypes.c_float * 1)(1.0)
    entries = (lib.llama_model_imatrix_data * 2)()  # the second ends the list
    entries[0].name, entries[0].size = b"none", 1
    entries[0].data = ctypes.cast(value, ctypes.POINTER(ctypes.c_float))
    if imatrix:
        parameters.imatrix = ctypes.cast(entries, ctypes.POINTER(lib.llama_model_imatrix_data))
    return int(lib.llama_model_quantize(os.fsencode(file), b"unused", ctypes.byref(parameters)))


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # libllama's own taking apart is of no use here
