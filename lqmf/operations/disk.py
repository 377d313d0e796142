"""disk: what takes the space in the workspace, and what of it can go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.hub import snapshots
from lqmf.jobs.journal import KEY_LENGTH, is_held
from lqmf.operations.result import Result
from lqmf.operations.unfinished import Unfinished, settle, unfinished, work_keys
from lqmf.records import Request

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask

FOLDERS = ("models", "artifacts", "benchmarks", "configs", "logs", "store")
SHOWN = 10


@dataclass(frozen=True)
class Folder:
    """A folder of the workspace, and the bytes on disk in it."""

    name: str
    path: str
    size_bytes: int


@dataclass(frozen=True)
class Removable:
    """Something that may go: why, and how it is removed."""

    path: str
    size_bytes: int
    reason: str
    remedy: str


@dataclass(frozen=True)
class Survey(Result):
    """The space that the workspace at `root` takes. `removable` has the ten largest things that may go, `in_use` the
    folders that jobs are at work in now: these may not."""

    root: str
    free_bytes: int
    total_bytes: int
    folders: tuple[Folder, ...]
    removable: tuple[Removable, ...]
    in_use: tuple[Folder, ...] = ()


async def run(app: App, request: Request, ask: Ask) -> Survey:
    """Return what lies in the workspace, largest first where it may go."""
    settle(app)  # what a killed process left half-made goes
    place = app.workspace
    usage = shutil.disk_usage(existing(place.root))
    folders = tuple(_folder(name, getattr(place, name)) for name in FOLDERS)
    used = _in_use(place, app.memory.running_jobs())
    free = [item for item in (*_leftovers(place, unfinished(app)), *_models(place)) if Path(item.path) not in used]
    free.sort(key=lambda item: -item.size_bytes)
    busy = tuple(_folder("a running job", path) for path in sorted(used) if path.exists())
    return Survey(str(place.root), usage.free, usage.total, folders, tuple(free[:SHOWN]), busy)


def _in_use(place: workspace.Workspace, jobs: Sequence[Mapping[str, Any]]) -> set[Path]:
    """Return the folders that running jobs build in, keep files made on the way in, and read their models from."""
    building = [f"{workspace.HIDDEN}{job['id']}" for job in jobs]
    held = (path for path in place.logs.glob("*.lock") if is_held(path))
    building += [_hidden(path.name.split(".")[0], path.name) for path in held]
    models = (snapshots.model_folder(place.models, str(job["model"])) for job in jobs if job["model"])
    return {*(place.artifacts / name for name in building), *models}


def _hidden(key: str, lock: str) -> str:
    """Return the name of the folder that a lock file in logs/ is for."""
    return f"{workspace.HIDDEN}{'work-' if lock.endswith('.work.lock') else ''}{key}"


def _folder(name: str, path: Path) -> Folder:
    return Folder(name, str(path), size(path))


def existing(path: Path) -> Path:
    """Return the nearest folder upward that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def size(path: Path) -> int:
    """Return the bytes on disk below `path`; links are not followed, and what vanishes meanwhile counts nothing."""
    total = 0
    for entry in (path, *path.rglob("*")) if path.exists() else ():
        try:
            status = entry.lstat()
        except OSError:
            continue
        blocks = getattr(status, "st_blocks", None)
        total += status.st_size if blocks is None else blocks * 512
    return total


def _leftovers(place: workspace.Workspace, jobs: list[Unfinished]) -> Iterator[Removable]:
    """Yield hidden folders that jobs and deletions left behind, with the job that would use them again."""
    keys = work_keys(jobs)
    for entry in place.artifacts.glob(f"{workspace.HIDDEN}*"):
        key, again, _ = entry.name.removeprefix(f"{workspace.HIDDEN}work-").partition("-again")
        job = keys.get(key[:KEY_LENGTH] + again)
        remedy = f"`{job.command}` uses it, or remove the folder" if job and job.command else "remove the folder"
        yield Removable(str(entry), size(entry), "left behind by a job", remedy)


def _models(place: workspace.Workspace) -> Iterator[Removable]:
    """Yield downloaded models: they are needed again only for another quantization or a test."""
    reason = "a downloaded model: fetched again when needed"
    for entry in sorted(place.models.iterdir()) if place.models.is_dir() else ():
        if entry.is_dir() and (taken := size(entry)):
            yield Removable(str(entry), taken, reason, "remove the folder")
