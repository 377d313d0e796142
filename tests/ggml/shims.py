"""Small C libraries that stand before llama.cpp's own functions (LD_PRELOAD), so that the real library dies or lies.

`TRAP` carries out an instruction that no processor has: the system answers with a real SIGILL, as for a build that was
made for another processor.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PRODUCT = "void ggml_vec_dot_q5_K_q8_K(int n, float *s) { (void) n; %s }"  # of a row of Q5_K weights
GRAPH = "int ggml_backend_sched_graph_compute_async(void *s, void *g) { (void) s; (void) g; %s }"  # of a whole model
TRAP, LIE, NOTHING = "__builtin_trap();", "*s = 1;", "return 0;"
ABORT = 'dprintf(2, "shim.c:7: GGML_ASSERT(a == b) failed\\n"); abort();'  # as ggml_abort does

needs_preload = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD is Linux's")


def shim(folder: Path, function: str, body: str) -> dict[str, str]:
    """The environment of a process in which `function` does what `body` says."""
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text("#include <stdio.h>\n#include <stdlib.h>\n" + function.replace("%s", body, 1))
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", str(source), "-o", str(library)], check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}
