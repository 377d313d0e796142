"""Runs tasks. The local runner starts a worker process and speaks its protocol.

Knows processes and the event stream; knows nothing about the work of a task.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from lqmf import child_process, events, forks
from lqmf.declared import methods
from lqmf.errors import WorkerDied, from_json
from lqmf.events import Emit
from lqmf.jobs import death
from lqmf.records import Task, to_json

LINE_LIMIT = 16 << 20  # bytes; a result line may hold samples and tables

WORKER = "lqmf.jobs.worker"
_FORKED = ("agreement", "complete", "divergence", "first_logits", "generate", "likeness")
_GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")

RunTask = Callable[[Task, Emit], Awaitable[dict[str, Any]]]  # a runner's `run`


@dataclasses.dataclass(frozen=True)
class JobContext:
    """The job that tasks belong to, the file for their workers' chatter, and the function that receives their
    events."""

    job: str
    log: str
    emit: Emit


class Runner(Protocol):
    """The promise of a runner: it carries out one task; cancelling the coroutine ends the task and every process it
    started."""

    async def run(self, task: Task, emit: Emit) -> dict[str, Any]:
        """Carry out the task and return its result. Raises the task's own error, or WorkerDied."""
        ...


class LocalRunner:
    """A runner that carries out each task in a process of its own session on this machine: a fork of a server that has
    transformers loaded, if the task runs that, else a new process (always with an `environment` of its own)."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._environment = environment

    async def run(self, task: Task, emit: Emit) -> dict[str, Any]:
        """Carry out the task and return its result. Raises the task's own error, or WorkerDied when the process ended
        without a report."""
        if self._environment is None and forkable(task):
            connection = None
            with contextlib.suppress(WorkerDied):  # a server that cannot start: a process of its own says why
                connection = await _reached(task)
            if connection is not None:
                return await _run_in_fork(task, emit, connection)
        own = os.environ if self._environment is None else self._environment
        return await _run_in_process(task, emit, {**child_process.WAITING, **own})


def forkable(task: Task) -> bool:
    """Tell whether a task is carried out in a fork: where it runs transformers' models, or needs a little of the
    library that a server has loaded; never where measured memory is to be the model's alone, nor where there is a GPU
    (a driver does not outlive a fork)."""
    if sys.platform != "linux" or any(Path(device).exists() for device in _GPUS):
        return False
    if task.kind == "conversion":
        return True
    if task.kind == "structure":  # a process of its own needs less than a server would
        return forks.runs(server())
    if task.kind == "quantize":
        return methods.of(task.params["plan"]["method"]).format != "gguf"
    artifact = task.params.get("artifact")
    return task.kind in _FORKED and artifact is not None and (Path(artifact) / "config.json").is_file()


def server() -> forks.Server:
    """Return the server of this process's workers."""
    return forks.Server(WORKER, (), {**child_process.WAITING, **os.environ})


async def _reached(task: Task) -> socket.socket:
    """Return the connection to a fork that carries out the task. Raises WorkerDied where the server cannot start."""
    reaching = asyncio.ensure_future(asyncio.to_thread(forks.reach, server(), to_json(task), Path.cwd(), quiet=True))
    try:
        return await asyncio.shield(reaching)
    except asyncio.CancelledError:
        reaching.add_done_callback(_drop)
        raise


def _drop(late: asyncio.Future[socket.socket]) -> None:
    """Close a connection that nobody waits for any more: its fork ends."""
    if not late.cancelled() and late.exception() is None:
        late.result().close()


async def _run_in_fork(task: Task, emit: Emit, connection: socket.socket) -> dict[str, Any]:
    start = _size(Path(task.log))
    lines, writer = await asyncio.open_unix_connection(sock=connection, limit=LINE_LIMIT)
    try:
        found = await _converse(lines, task, emit)
        if "result" in found:
            return dict(found["result"])
        raise death.died(found.get("ended", -signal.SIGKILL), Path(task.log), start)
    finally:
        with contextlib.suppress(OSError):
            writer.write_eof()  # the server ends the fork, then closes its end
        await asyncio.shield(lines.read())
        writer.close()


async def _run_in_process(task: Task, emit: Emit, environment: dict[str, str]) -> dict[str, Any]:
    start = _size(Path(task.log))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        WORKER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=LINE_LIMIT,
        start_new_session=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its death is told below
            process.stdin.write(json.dumps(to_json(task)).encode() + b"\n")
            await process.stdin.drain()
        found = await _converse(process.stdout, task, emit)
        if "result" in found:
            return dict(found["result"])
        raise death.died(await process.wait(), Path(task.log), start)
    finally:
        await end(process)


async def _converse(lines: asyncio.StreamReader, task: Task, emit: Emit) -> dict[str, Any]:
    """Hear a worker's lines to the last, {"result": ..} or a fork's {"ended": its exit code}; empty where it died
    without one. Raises the error that it sends."""
    async for line in lines:
        if not line.endswith(b"\n"):
            break  # torn: the worker died in the middle of it
        document: dict[str, Any] = json.loads(line)
        if "event" in document:
            emit(dataclasses.replace(events.from_json(document), job=task.job))
        elif "error" in document:
            raise from_json(document["error"])
        else:
            return document
    return {}


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


async def end(process: asyncio.subprocess.Process) -> None:
    """End a worker and its children, and wait until it is gone."""
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)  # a killed worker's children live on without this
        else:
            process.kill()
    await asyncio.shield(process.wait())
