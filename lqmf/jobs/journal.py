"""Who holds a job, and what happened in it: the lock file and the event log of each job.

Knows process ids and files; knows nothing about what a job does.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lqmf.errors import JobError
from lqmf.events import Event
from lqmf.store.owners import lives, this_process


def new_id() -> str:
    """A job or plan id: sorts by time, and differs between processes ("20261122-054138-3f2a")."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold a job's lock file. Raises JobError while a living process holds it; a dead one's lock is taken over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(this_process()), encoding="utf-8")
    try:
        _claim(path, temporary)
    finally:
        temporary.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _claim(path: Path, temporary: Path) -> None:
    """Link our own description into place: whole from the first moment, and only one of two can win."""
    try:
        os.link(temporary, path)
        return
    except FileExistsError:
        holder = _read(path)
    if lives(holder):
        raise JobError(
            f"Another process ({holder['owner_pid']}) is working on this job.",
            "Wait for it, or `lqmf cancel` it there.",
        )
    os.replace(temporary, path)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


class EventLog:
    """Writes every event of a job to `logs/<job>.jsonl`, one JSON object a line, redacted. A full disk stops no job."""

    def __init__(self, folder: Path, redact: Callable[[str], str]) -> None:
        self._folder = folder
        self._redact = redact

    def __call__(self, event: Event) -> None:
        if not event.job:
            return
        line = self._redact(json.dumps(event.to_json(), ensure_ascii=False)) + "\n"
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / f"{event.job}.jsonl").open("a", encoding="utf-8") as file:
                file.write(line)
