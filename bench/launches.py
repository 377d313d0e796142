"""Processor time of `lqmf quantize demo` before anything is measured, and how often the converter is launched for it.

    python bench/launches.py [--runs 3] [--type TYPE] [--gate]

Each run has a workspace and a cache of its own, empty but for the converter's files. The time is user and system time
of the command and of all its descendants: orphans are adopted and counted. Must: one launch, 8 CPU seconds at most.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from lqmf import workspace

ROOT = Path(__file__).resolve().parents[1]
CONVERTER = "lqmf.quantization.gguf.converter.launcher"
FORK = " (fork)"  # a conversion: the converter was loaded already
MOST_LAUNCHES, MOST_SECONDS = 1, 8.0
_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Print each run's seconds and launches; with `--gate` exit 1 where there are more than allowed."""
    options = parse()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    print(machine())
    seconds, launches = [], []
    for _ in range(options.runs):
        spent, started = run(options.type, options.show)
        seconds.append(sum(spent.values()))
        launches.append(started)
        parts = ", ".join(f"{name} {value:.2f}" for name, value in sorted(spent.items(), key=lambda item: -item[1]))
        print(f"{seconds[-1]:6.2f} CPU s, {started} launches: {parts}")
    print(f"median {statistics.median(seconds):.2f} CPU s, at most {max(launches)} launches")
    good = max(launches) <= MOST_LAUNCHES and statistics.median(seconds) <= MOST_SECONDS
    return 0 if good or not options.gate else 1


def run(type: str | None, show: bool) -> tuple[dict[str, float], int]:
    """One `lqmf quantize demo` without its measuring: CPU seconds by module, and launches of the converter."""
    with tempfile.TemporaryDirectory() as place:
        cache = Path(place) / "cache"
        cache.mkdir()
        (cache / "toolchain").symlink_to(workspace.cache_dir() / "toolchain")
        environment = {**os.environ, workspace.CACHE_VARIABLE: str(cache), "HF_HUB_OFFLINE": "1"}
        environment |= {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "lqmf", "quantize", "demo", "--test", "none", "--yes"]
        command += ["--type", type] if type else []
        before = children_seconds()
        child = subprocess.Popen(
            [*command, "--workspace", str(Path(place) / "work")],
            env=environment,
            cwd=place,
            stdout=None if show else subprocess.DEVNULL,
            stderr=None if show else subprocess.DEVNULL,
        )
        watch = Watch(child.pid)
        code = child.wait()
        watch.end()
        reap()
        if code != 0:
            raise SystemExit(f"{' '.join(command)} ended with {code}; --show shows why.")
        total = children_seconds() - before
        parts = watch.seconds()
        return {**parts, "unseen": total - sum(parts.values())}, watch.launches


class Watch:
    """Looks at the descendants of this process twenty times a second. What a process does after the last look at it
    is left out of `seconds`, and is in the system's own total."""

    def __init__(self, pid: int) -> None:
        self._seen: dict[tuple[int, float], tuple[str, float]] = {}  # by pid and start: module, CPU seconds
        self._ended, self._thread = threading.Event(), threading.Thread(target=self._look, daemon=True)
        self._me = psutil.Process()
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            for process in self._me.children(recursive=True):
                try:
                    times, key = process.cpu_times(), (process.pid, process.create_time())
                    name = self._seen[key][0] if key in self._seen else ""
                    name = module(process.cmdline()) or name
                    parent = process.parent()
                    name += FORK if name == CONVERTER and parent and module(parent.cmdline()) == CONVERTER else ""
                except psutil.Error:
                    continue
                self._seen[key] = (name, times.user + times.system)

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def seconds(self) -> dict[str, float]:
        """CPU seconds by module."""
        found: dict[str, float] = {}
        for name, value in self._seen.values():
            found[name] = found.get(name, 0.0) + value
        return found

    @property
    def launches(self) -> int:
        """How many processes loaded the converter anew."""
        return sum(name == CONVERTER for name, _ in self._seen.values())


def module(command: list[str]) -> str:
    """The module that a process of Python runs, or its file."""
    if "-m" in command[:-1]:
        return command[command.index("-m") + 1]
    return Path(command[0]).name if command else ""


def children_seconds() -> float:
    """User and system time of all descendants that ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def reap() -> None:
    """Wait for orphans that were adopted."""
    for _ in range(200):
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.05)
        except ChildProcessError:
            return


def machine() -> str:
    """Processor and versions, for the record."""
    names = ("torch", "transformers", "llama-cpp-python", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"model name\s*: (.+)", described)
    cpu = found[1] if found else platform.machine()
    load = os.getloadavg()[0]
    return f"{cpu}, {os.cpu_count()} cores, load {load:.1f}; Python {platform.python_version()}, {versions}"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--type", help="instead of the type that is chosen unasked")
    parser.add_argument("--show", action="store_true", help="show the command's own output")
    parser.add_argument("--gate", action="store_true", help="exit 1 where it takes more than it may")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
