"""Time of LQMF's vectorized quantizers against libggml's own, type by type: the same bytes, on one core.

python bench/lanes.py [--runs 5]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
from llama_cpp import __version__ as llama_version

from lqmf.ggml import ggml, lanes
from lqmf.ggml.chunks import NUMBERS, row_bytes
from lqmf.hardware import cpu_name

ROWS, COLUMNS = 256, 2048
TYPES = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print(f"{cpu_name()}; Python {platform.python_version()}, llama-cpp-python {llama_version}; {ROWS} x {COLUMNS}")
    random = np.random.default_rng(0)
    rows = (random.standard_normal((ROWS, COLUMNS)) * 0.02).astype(np.float32)
    importance = random.random(COLUMNS, dtype=np.float32)
    for name in TYPES:
        for weighted in (False, True):
            if lanes.proven(NUMBERS[name], weighted=weighted):
                compare(name, rows, importance.ctypes.data if weighted else None, runs)


def compare(name: str, rows: np.ndarray, given: int | None, runs: int) -> None:
    kind, target = NUMBERS[name], np.zeros(ROWS * row_bytes(NUMBERS[name], COLUMNS), np.uint8)
    source, place = rows.ctypes.data, target.ctypes.data
    ours = median(lambda: lanes.quantize(kind, source, place, ROWS, COLUMNS, given), runs)
    theirs = median(lambda: ggml.library().ggml_quantize_chunk(kind, source, place, 0, ROWS, COLUMNS, given), runs)
    shown = "with imatrix" if given else ""
    print(f"  {name:7} {shown:12} {theirs * 1e3:6.1f} -> {ours * 1e3:5.1f} ms   ratio {ours / theirs:.3f}")


def median(work: Callable[[], object], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
