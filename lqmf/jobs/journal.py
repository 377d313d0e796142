"""Keeps who holds a job and what happened in it: the lock file and the event log of each job.

Knows process ids and files; knows nothing about the work of a job.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lqmf import workspace
from lqmf.errors import JobError
from lqmf.events import Event
from lqmf.records import ModelRef
from lqmf.store.owners import lives, this_process
from lqmf.version import VERSION
from lqmf.workspace import Workspace

KEY_LENGTH = 16  # hex digits


def new_id() -> str:
    """Return a new job or plan id: it sorts by time, and differs between processes ("20261122-054138-3f2a")."""
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


def is_held(path: Path) -> bool:
    """Tell whether a living process holds the lock file `path`."""
    return lives(_read(path))


@contextlib.contextmanager
def work_folder(place: Workspace, model: ModelRef, commit: str | None, apart: str = "") -> Iterator[Path]:
    """Yield the folder where jobs on a model keep files made on the way (a rebuild `apart` from the rest); a new folder
    while another process holds that folder."""
    key = work_key(model, commit) + apart
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(place.logs / f"{key}.work.lock"))
        except JobError:
            key = f"{key}-{new_id()}"
        yield stack.enter_context(workspace.work(place.artifacts, key))


def work_key(model: ModelRef, commit: str | None) -> str:
    """Return the key of work on exactly these files, 16 hex digits: by commit, or for a local folder by its files as
    they are now."""
    seen = [model.kind, model.id, commit, VERSION]
    if model.kind == "local":
        seen.append(model.path)
        for file in sorted(Path(model.path or "").iterdir()):
            status = file.stat()
            seen.append(f"{file.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:KEY_LENGTH]


def _claim(path: Path, temporary: Path) -> None:
    """Link our own description into place: the file is whole from the first moment, and only one of two processes can
    win."""
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
    """The writer of a job's events to `logs/<job>.jsonl`, one JSON object a line, redacted. A full disk stops no
    job."""

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
