"""Explains why a worker died without a report: by which signal, in which library, and with which last words.

The worker has Python write its stack into the log when a signal ends it ("Fatal Python error: ...", then a stack); the
nearest library in that stack is the library that died. Of the rest of the log, only lines that libraries print as they
give up count as last words: most of the log is chatter, down to whole chat templates. Knows logs; runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lqmf.child_process import ending, signal_of
from lqmf.errors import LqmfError, WorkerDied

LIBRARIES: Mapping[str, tuple[str, ...]] = {  # by what the paths of their Python files hold
    "llama.cpp": ("/llama_cpp/", "/lqmf/ggml/", "/lqmf/engines/llama/"),
    "torch": ("/torch/",),
    "gptqmodel": ("/gptqmodel/",),
    "bitsandbytes": ("/bitsandbytes/",),
}
_STACK = "Fatal Python error: "
_FRAME = re.compile(r'^  File "([^"]+)", line \d+', re.MULTILINE)
_GIVING_UP = re.compile(
    r"^\S+\.(?:c|cc|cpp|cu|cuh|h|m|mm):\d+: .+"  # ggml_abort, with or without GGML_ASSERT
    r"|^terminate called .+|^\s*what\(\): .+"  # an exception of C++ that nobody caught
    r"|^\S+: \S+:\d+: .+: Assertion .+ failed\.?$"  # assert() of C
    r"|.*\b(?:CUDA|HIP|Metal|Vulkan)\b.* error\b.*",
    re.MULTILINE,
)


def died(returncode: int, log: Path, start: int = 0) -> LqmfError:
    """Return the error for a worker's end; its part of the log begins at byte `start`."""
    said = _read(log, start)
    library, words = library_in(said), last_words(said)
    if signal_of(returncode) == "SIGILL":
        return _illegal(library, log, returncode)
    told = f" It last said: {words}" if words and signal_of(returncode) != "SIGKILL" else ""
    return WorkerDied(
        f"The worker process {ending(returncode)}.{told}",
        f"Everything it said is in {log}.",
        returncode=returncode,
    )


def _illegal(library: str, log: Path, returncode: int) -> LqmfError:
    """Return the error for an instruction that the processor refused: a library was compiled for another processor."""
    if library in ("", "llama.cpp"):
        what = "this llama.cpp was" if library else "one of its libraries, most likely llama.cpp, was"
        remedy = "`lqmf doctor --fix` builds llama.cpp anew for this processor."
    else:
        what = f"this {library} was"
        remedy = f"Install a {library} for this processor (its own documentation says how); the stack is in {log}."
    return WorkerDied(
        f"The worker process was ended by SIGILL: {what} built for another processor.", remedy, returncode=returncode
    )


def library_in(said: str) -> str:
    """Return the library nearest to the end of the stack that Python wrote when a signal ended it; empty where there is
    none."""
    _, _, stack = said.rpartition(_STACK)
    for path in _FRAME.findall(stack):
        for library, parts in LIBRARIES.items():
            if any(part in path for part in parts):
                return library
    return ""


def last_words(said: str) -> str:
    """Return the last line that a library printed as it gave up; empty where there is none."""
    found = [match[0].strip() for match in _GIVING_UP.finditer(said.partition(_STACK)[0])]
    return found[-1] if found else ""


def _read(log: Path, start: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(start)
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
