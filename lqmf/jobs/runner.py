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
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from lqmf import child_process, events
from lqmf.errors import from_json
from lqmf.events import Emit
from lqmf.jobs import death
from lqmf.records import Task, to_json

LINE_LIMIT = 16 << 20  # bytes; a result line may hold samples and tables

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
    """A runner that carries out each task in a child process of its own session on this machine."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._environment = environment

    async def run(self, task: Task, emit: Emit) -> dict[str, Any]:
        """Carry out the task and return its result. Raises the task's own error, or WorkerDied when the process ended
        without a report."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lqmf.jobs.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_LIMIT,
            start_new_session=True,
            env={**child_process.WAITING, **(os.environ if self._environment is None else self._environment)},
        )
        try:
            return await self._converse(process, task, emit)
        finally:
            await end(process)

    async def _converse(self, process: asyncio.subprocess.Process, task: Task, emit: Emit) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        log = Path(task.log)
        start = log.stat().st_size if log.exists() else 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its death is told below
            process.stdin.write(json.dumps(to_json(task)).encode() + b"\n")
            await process.stdin.drain()
        async for line in process.stdout:
            if not line.endswith(b"\n"):
                break  # torn: the worker died in the middle of it
            document = json.loads(line)
            if "event" in document:
                emit(dataclasses.replace(events.from_json(document), job=task.job))
            elif "error" in document:
                raise from_json(document["error"])
            else:
                result: dict[str, Any] = document["result"]
                return result
        raise death.died(await process.wait(), log, start)


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
