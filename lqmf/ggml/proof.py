"""Tells whether the installed llama.cpp runs on this processor and computes right answers. The parent's side.

`probe.py` computes in a child process, which may die of it. Needs the standard library alone, so that the set-up can
ask. Knows processes and how they end; nothing of models.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 300  # it takes two or three; an emulated processor takes a minute
ILLEGAL = "it holds an instruction that this processor does not carry out"


@dataclass(frozen=True)
class Proof:
    """The outcome of the probe. `fault` is a clause that says where llama.cpp died or differed, and how; empty if all
    `computed` answers were right. `lasting` is False if another build would not help: a kill from outside, a machine
    that is too busy, a package that is missing."""

    fault: str = ""
    lasting: bool = True
    computed: int = 0
    gpu: bool = False  # whether this build can use one


def prove(python: Sequence[str] = (sys.executable,), timeout_seconds: float = TIMEOUT_SECONDS) -> Proof:
    """Run the probe with `python`, a command line (an emulator may stand before the interpreter), and return the
    proof."""
    command = [*python, "-m", "lqmf.ggml.probe"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_seconds, env=_environment()
        )
    except subprocess.TimeoutExpired as error:
        doing = _read(error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else "")[0]
        return Proof(f"it did not end within {timeout_seconds:.0f} s ({doing})", lasting=False)
    doing, last, wrong = _read(done.stdout)
    if done.returncode == 0 and "done" in last:
        return Proof(computed=int(last["done"]), gpu=bool(last["gpu"]))
    if "error" in last:
        return Proof(str(last["error"]).rstrip("."))
    if wrong:
        more = f", and {len(wrong) - 1} more" if wrong[1:] else ""
        return Proof(f"its answers are wrong: {wrong[0]}{more}")
    crashed = done.returncode < 0 and done.returncode != -signal.SIGKILL
    return Proof(f"{_end(done.returncode, done.stderr)} ({doing})", lasting=crashed)


def _environment() -> dict[str, str]:
    """Return the child's environment: this package importable from anywhere, no debugger when libggml aborts, threads
    that wait without spinning."""
    package = str(Path(__file__).parents[2])
    known = os.environ.get("PYTHONPATH")
    return os.environ | {
        "GGML_NO_BACKTRACE": "1",
        "OMP_WAIT_POLICY": "passive",
        "PYTHONPATH": os.pathsep.join([package, *filter(None, [known])]),
    }


def _read(output: str) -> tuple[str, dict[str, Any], list[str]]:
    """Return the computation announced last, the last line, and the answers that were wrong."""
    doing, last, wrong = "starting", dict[str, Any](), list[str]()
    for line in output.splitlines():
        if not line.startswith("{"):
            continue  # a library's chatter
        try:
            last = json.loads(line)
        except ValueError:
            break  # torn by the end
        doing = last.get("doing", doing)
        wrong += [last["wrong"]] if "wrong" in last else []
    return doing, last, wrong


def _end(returncode: int, stderr: str) -> str:
    """Return a clause that says how the child ended."""
    if returncode == -signal.SIGILL:
        return ILLEGAL
    if returncode < 0:
        return f"it is ended by {signal.Signals(-returncode).name}"
    said = [line for line in stderr.splitlines() if line.strip()]
    return said[-1].strip() if said else f"it ends with status {returncode}"
