"""Marks the process that owns a job: its id and start time, so that another process with a reused id is not mistaken
for it."""

from __future__ import annotations

import os

from lqmf.store.base import Row

LARGEST_PID = 1 << 31
TOLERANCE_SECONDS = 2.0  # the start time counts from the boot time, which moves when the clock is set


def this_process() -> Row:
    """Return the columns that mark a job as this process's: `owner_pid`, and `owner_started` as a Unix time in
    seconds."""
    import psutil

    return {"owner_pid": os.getpid(), "owner_started": psutil.Process().create_time()}


def lives(job: Row) -> bool:
    """Tell whether the process that owns the job still runs: False for a zombie, True for a process that may not be
    inspected."""
    import psutil

    pid, started = job.get("owner_pid"), job.get("owner_started")
    if pid is None or started is None or not 0 < pid < LARGEST_PID:
        return False
    try:
        process = psutil.Process(pid)
        same = bool(abs(process.create_time() - started) < TOLERANCE_SECONDS)
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
