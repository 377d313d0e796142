"""A child process that speaks JSON lines and ends with its parent: both ends of the connection.

libllama aborts the process on a failed assertion, and the converter loads torch; neither belongs in the parent. The
child takes its request as one JSON argument and writes one JSON object a line on what was its standard output; the
output of its libraries goes to standard error. When standard input closes, the parent is gone. Knows nothing of models.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from lqmf import errors

MEANINGS = {  # of the signals that end a process
    "SIGABRT": "a library gave up on a failed assertion",
    "SIGSEGV": "a library crashed",
    "SIGILL": "a library was built for another processor",
    "SIGKILL": "killed from outside, as the system does when memory runs out",
}
Send = Callable[[dict[str, Any]], None]

# How OpenMP's threads wait for one another (libgomp reads it when it is loaded). Left alone they spin at every barrier:
# where other programs run as well, each spins away the time that the one it waits for needs (bench/busy.py).
WAITING = {"OMP_WAIT_POLICY": "passive"}

_SECRET = re.compile(r"TOKEN|API_KEY|SECRET|PASSWORD", re.IGNORECASE)


# ---------------------------------------------------------------- the parent's end


def run(module: str, request: Mapping[str, Any], folder: Path, hear: Send, *, quiet: bool = False) -> int:
    """Run `python -m module` in `folder` and return its exit code; `hear` gets each JSON object that the child sends.

    `quiet` drops the child's standard error. Raises the LqmfError that the child sends.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(request)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        cwd=folder,
        env=environment(folder),
    )
    try:
        assert child.stdout is not None
        for line in child.stdout:
            message = json.loads(line) if line.endswith(b"\n") else {}  # a killed child's last line may be half one
            if "error" in message:
                raise errors.from_json(message["error"])
            hear(message)
        return child.wait()
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a child that runs in `folder`: no network, no secrets, no foreign `gguf`, and no
    imports from the folder it runs in; an abort of libllama ends the child at once, without a debugger."""
    kept = {key: value for key, value in os.environ.items() if not _SECRET.search(key) and key != "NO_LOCAL_GGUF"}
    package = str(Path(__file__).resolve().parent.parent)
    return {**WAITING, **kept} | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_MODULES_CACHE": str(folder / "modules"),
        "GGML_NO_BACKTRACE": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


def ending(returncode: int) -> str:
    """Return in words how a process ended: "was ended by SIGSEGV: a library crashed"."""
    name = signal_of(returncode)
    if not name:
        return f"ended with status {returncode}"
    return f"was ended by {name}" + (f": {MEANINGS[name]}" if name in MEANINGS else "")


def signal_of(returncode: int) -> str:
    """Return the name of the signal that ended a process ("SIGILL"); empty where no signal did."""
    return signal.Signals(-returncode).name if returncode < 0 else ""


# ---------------------------------------------------------------- the child's end


def claim_stdout(descriptor: int = 1) -> Send:
    """Take over `descriptor` for JSON lines, send all other standard output to standard error, and return the function
    that writes an object as one line, from any thread."""
    stream: TextIO = os.fdopen(os.dup(descriptor), "w", encoding="utf-8", newline="\n")
    lock = threading.Lock()
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        with lock:
            stream.write(json.dumps(message) + "\n")
            stream.flush()

    return send


def end_with_parent() -> None:
    """End this process at once when the parent closes its end of standard input, on purpose or by dying."""

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
