"""Speed of llama.cpp on an idle and on a busy machine, by how its OpenMP threads wait for one another.

    python bench/busy.py [--seconds 10] [--stress 15] [--case NAME]

Each case is a process of its own that reads windows of 512 tokens with the demo's Q4_K_M. The busy half runs beside
`--stress` processes that only count. What LQMF sets is `child_process.WAITING`: on an idle machine it must read at
least .97 of what libgomp's own policy does, and on a busy one as much as one thread. The idle half means nothing on a
machine whose load is not near 0 when this starts; the load is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from launches import machine  # (the bench beside this one)

from lqmf import child_process
from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.gguf.stream.pipeline import Output, stream

ROOT = Path(__file__).resolve().parents[1]
DEMO = Path(str(resources.files("lqmf").joinpath("assets/demo")))
POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")
WINDOW = 512
CORES = len(os.sched_getaffinity(0))
CASES: dict[str, tuple[dict[str, str], int]] = {
    "libgomp's own": ({}, CORES),
    "spin 1000": ({"GOMP_SPINCOUNT": "1000"}, CORES),
    "spin 10000": ({"GOMP_SPINCOUNT": "10000"}, CORES),
    "LQMF": (child_process.WAITING, CORES),
    "one thread": ({}, 1),
}


def main() -> int:
    """Print windows a second of every case, idle and busy, and how LQMF's stands to what it must not be slower than."""
    options = parse()
    if options.child:
        print(read(options.child, options.seconds, options.threads))
        return 0
    print(machine())
    cases = {name: case for name, case in CASES.items() if not options.case or name in options.case}
    with tempfile.TemporaryDirectory() as place:
        output = Output(Path(place) / "demo.gguf", "Q4_K_M")
        stream(DEMO, [output], toolchain.ensure(), lambda _event: None, scratch=Path(place), name="demo")
        for stress in (0, options.stress):
            with busy(stress):
                speeds = {name: run(output.path, options.seconds, *case) for name, case in cases.items()}
            print(f"beside {stress} busy processes, windows a second:")
            for name, speed in speeds.items():
                print(f"  {name:16} {speed:6.2f}")
            peer = "one thread" if stress else "libgomp's own"
            if peer in speeds and "LQMF" in speeds:
                print(f"  LQMF / {peer}: {speeds['LQMF'] / speeds[peer]:.3f}")
    return 0


def run(file: Path, seconds: float, policy: dict[str, str], threads: int) -> float:
    """Windows a second of one case."""
    environment = {key: value for key, value in os.environ.items() if key not in POLICIES}
    environment |= {"PYTHONPATH": str(ROOT), **policy}
    command = [sys.executable, __file__, "--child", str(file), "--seconds", str(seconds), "--threads", str(threads)]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def read(file: str, seconds: float, threads: int) -> float:
    """Windows a second in this process, after one that does not count."""
    from llama_cpp import Llama

    model = Llama(file, n_ctx=WINDOW, n_batch=WINDOW, n_threads=threads, n_threads_batch=threads, verbose=False)
    tokens, windows, started = [number % 4000 for number in range(WINDOW)], -1, 0.0
    while windows < 1 or time.monotonic() - started < seconds:
        model.reset()
        model.eval(tokens)
        windows += 1
        started = started or time.monotonic()
    return windows / (time.monotonic() - started)


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that keep a processor each as busy as they may."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--stress", type=int, default=15)
    parser.add_argument("--case", action="append", choices=sorted(CASES))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
