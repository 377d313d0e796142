"""The worker: a child process that carries out one task and may die of it without harm to the chat.

Reads one task (a JSON line) on standard input, which then stays open as the control pipe: when it closes, the chat is
gone and the worker ends. Events go out as JSON lines on a duplicate of standard output; file descriptors 1 and 2 lead
to the job's log before any library is loaded. With the descriptor of a socket as its argument it loads torch and
transformers instead, and each of its forks is a worker (see `lqmf.forks`). Knows no model, no store, no terminal.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lqmf import child_process, forks, records
from lqmf.errors import LqmfError, OutOfMemory, of_system
from lqmf.events import Event
from lqmf.jobs.journal import hold

Run = Callable[[records.Task, Callable[[Event], None]], dict[str, Any]]

_LOADED = ("torch", "transformers.modeling_utils", "lqmf.engines.transformers.engine")  # by whom forks are workers


def main() -> int:
    """Carry out the task on standard input. Returns 0 when it succeeded, 1 when it failed with a report."""
    if sys.argv[1:]:
        _serve(socket.socket(fileno=int(sys.argv[1])))
        return 0
    task = json.loads(sys.stdin.buffer.readline())
    say = child_process.claim_stdout()
    _die_with_parent()
    return _carry_out(task, say)


def _serve(listener: socket.socket) -> None:
    """Load what transformers' models need, and let a fork carry out each task that comes on `listener`."""
    with forks.while_owned():
        for name in _LOADED:
            with contextlib.suppress(Exception):  # what cannot be loaded fails in the fork, in its own words
                importlib.import_module(name)
    forks.serve(listener, _carry_out)


def _carry_out(asked: Mapping[str, Any], say: child_process.Send) -> int:
    """Carry out the task that `asked` describes, and say its events, then its result or its error."""
    task = records.Task(**asked)  # our own parent wrote it: no reader that checks
    _quiet(Path(task.log))
    faulthandler.enable()  # a signal that ends us leaves where we stood in the log: see `death`
    try:
        with hold(Path(task.log).with_suffix(".lock")):
            module = importlib.import_module(f"lqmf.jobs.tasks.{task.kind}")
            for name in getattr(module, "UNUSED", ()):  # modules that libraries would import without need
                sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # now importing it fails
            run: Run = module.run
            result = run(task, lambda event: say(event.to_json()))
    except BaseException as error:  # noqa: BLE001 - the top of the process: whatever it was, the chat is told
        traceback.print_exc()
        say({"error": explain(error, task.log).to_json()})
        return 1
    say({"result": result})
    return 0


def _quiet(log: Path) -> None:
    """Send the output of libraries to the log, at the level of file descriptors, so that C code is caught too."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _die_with_parent() -> None:
    """End this process and its children as soon as the control pipe closes."""
    control = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # children must not hold the pipe open, nor read from it
    os.close(nothing)

    def watch() -> None:
        while os.read(control, 4096):
            pass
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="control", daemon=True).start()


def explain(error: BaseException, log: str) -> LqmfError:
    """Turn any failure into an LqmfError."""
    if isinstance(error, LqmfError):
        return error
    if isinstance(error, MemoryError):
        return OutOfMemory("There was not enough memory.", "Close other programs, or choose a smaller type.")
    if isinstance(error, OSError):
        return of_system(error, f"Details are in {log}.")
    return LqmfError(f"The worker failed: {type(error).__name__}: {error}", f"Details are in {log}.")


if __name__ == "__main__":
    sys.exit(main())
