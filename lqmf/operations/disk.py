"""disk: what takes the space in the workspace, and what of it can go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lqmf import workspace
from lqmf.operations.result import Result
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
    """The space that the workspace at `root` takes. `removable` has the ten largest things that may go."""

    root: str
    free_bytes: int
    total_bytes: int
    folders: tuple[Folder, ...]
    removable: tuple[Removable, ...]


async def run(app: App, request: Request, ask: Ask) -> Survey:
    """Walk the workspace's folders."""
    return survey(app.workspace)


def survey(place: workspace.Workspace) -> Survey:
    """Return what lies in a workspace, largest first where it may go."""
    usage = shutil.disk_usage(existing(place.root))
    folders = tuple(_folder(name, getattr(place, name)) for name in FOLDERS)
    removable = sorted([*_leftovers(place), *_models(place)], key=lambda item: -item.size_bytes)
    return Survey(str(place.root), usage.free, usage.total, folders, tuple(removable[:SHOWN]))


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


def _leftovers(place: workspace.Workspace) -> Iterator[Removable]:
    """Yield hidden folders that a killed job left behind."""
    for entry in place.artifacts.glob(f"{workspace.HIDDEN}*"):
        yield Removable(str(entry), size(entry), "left behind by a job", "`lqmf resume`, or remove the folder")


def _models(place: workspace.Workspace) -> Iterator[Removable]:
    """Yield downloaded models: they are needed again only for another quantization or a test."""
    reason = "a downloaded model: fetched again when needed"
    for entry in sorted(place.models.iterdir()) if place.models.is_dir() else ():
        if entry.is_dir() and (taken := size(entry)):
            yield Removable(str(entry), taken, reason, "remove the folder")
