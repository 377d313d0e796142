"""`lqmf disk`: what takes the space, and what of it can go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "disk",
    "what takes the space, and what of it can go",
    examples=("lqmf disk", "lqmf disk --json"),
    order=140,
    panel="Housekeeping",
    remembered=False,
)
SHOWN = 10


def cli() -> Decision:
    """Show the size of each folder of the workspace, the free space, and what can be removed."""
    return options.typed("disk")


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Walk the workspace's folders."""
    from lqmf.cli.views.disk import disk_view

    document = survey(app.workspace)
    return Outcome(document, disk_view(document))


def survey(place: workspace.Workspace) -> dict[str, Any]:
    """`{"root", "free_bytes", "total_bytes", "folders": [{"name", "path", "size_bytes"}], "removable": [..]}`."""
    usage = shutil.disk_usage(existing(place.root))
    folders = ("models", "artifacts", "benchmarks", "configs", "logs", "store")
    sizes = [(name, getattr(place, name)) for name in folders]
    removable = sorted([*_leftovers(place), *_models(place)], key=lambda item: -item["size_bytes"])
    return {
        "root": str(place.root),
        "free_bytes": usage.free,
        "total_bytes": usage.total,
        "folders": [{"name": name, "path": str(path), "size_bytes": size(path)} for name, path in sizes],
        "removable": removable[:SHOWN],
    }


def existing(path: Path) -> Path:
    """The nearest folder upward that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def size(path: Path) -> int:
    """Bytes on disk below `path`; links are not followed, and what vanishes meanwhile counts nothing."""
    total = 0
    for entry in (path, *path.rglob("*")) if path.exists() else ():
        try:
            status = entry.lstat()
        except OSError:
            continue
        blocks = getattr(status, "st_blocks", None)
        total += status.st_size if blocks is None else blocks * 512
    return total


def _leftovers(place: workspace.Workspace) -> Iterator[dict[str, Any]]:
    """Hidden folders that a killed job left behind."""
    for entry in place.artifacts.glob(f"{workspace.HIDDEN}*"):
        yield {
            "path": str(entry),
            "size_bytes": size(entry),
            "reason": "left behind by a job",
            "remedy": "`lqmf resume`, or remove the folder",
        }


def _models(place: workspace.Workspace) -> Iterator[dict[str, Any]]:
    """Downloaded models: needed again only for another quantization or a test."""
    for entry in sorted(place.models.iterdir()) if place.models.is_dir() else ():
        if entry.is_dir() and (taken := size(entry)):
            yield {
                "path": str(entry),
                "size_bytes": taken,
                "reason": "a downloaded model: fetched again when needed",
                "remedy": "remove the folder",
            }
