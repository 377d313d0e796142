"""How long LQMF takes to start, as ratios: `lqmf --version` to an empty Python, the chat to its libraries alone.

    .venv/bin/python bench/startup.py [RUNS]

Each ratio is one of medians over interleaved runs, so that a machine's mood falls on both sides alike.
"""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LIBRARIES = ("typer", "rich", "prompt_toolkit", "sqlite_utils", "blinker")
LIMITS = {"--version": 8.0, "chat": 1.15}
RUNS = 15


def main() -> None:
    """Measure and print; exit 1 when a ratio is over its limit."""
    runs = max(RUNS, int(sys.argv[1])) if len(sys.argv) > 1 else RUNS
    script = str(Path(sys.executable).with_name("lqmf"))
    with tempfile.TemporaryDirectory() as workspace:
        commands = {
            "python -c pass": ([sys.executable, "-c", "pass"], ""),
            "lqmf --version": ([script, "--version"], ""),
            "import the libraries": ([sys.executable, "-c", f"import {', '.join(LIBRARIES)}"], ""),
            "printf 'exit\\n' | lqmf": ([script, "--workspace", workspace], "exit\n"),
        }
        seconds = measure(commands, runs)
    report(seconds, runs)


def measure(commands: Mapping[str, tuple[Sequence[str], str]], runs: int) -> dict[str, float]:
    """Median seconds of each command over `runs` rounds of all of them; one round before is thrown away."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for index in range(runs + 1):
        for name, (command, text) in commands.items():
            started = time.perf_counter()
            subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)
            if index:
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in taken.items()}


def report(seconds: Mapping[str, float], runs: int) -> None:
    """Print medians and ratios; exit 1 when one is over its limit."""
    empty, version, libraries, chat = seconds.values()
    print(f"{platform.platform()}, {platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("lqmf", *LIBRARIES)))
    print(f"medians of {runs} interleaved runs")
    for name, value in seconds.items():
        print(f"  {name:<26} {value * 1000:7.1f} ms")
    ratios = {"--version": version / empty, "chat": chat / libraries}
    print(f"lqmf --version / python -c pass: {ratios['--version']:.2f} (at most {LIMITS['--version']:g})")
    print(f"printf 'exit\\n' | lqmf / import the libraries: {ratios['chat']:.2f} (at most {LIMITS['chat']:g})")
    sys.exit(int(any(ratios[name] > limit for name, limit in LIMITS.items())))


if __name__ == "__main__":
    main()
