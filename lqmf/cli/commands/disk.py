"""`lqmf disk`: what takes the space, and what of it can go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.disk import Survey

COMMAND = Command(
    "disk",
    "what takes the space, and what of it can go",
    examples=("lqmf disk", "lqmf disk --json"),
    order=140,
    panel="Housekeeping",
    remembered=False,
)


def cli() -> Decision:
    """Show the size of each folder of the workspace, the free space, and what can be removed."""
    return options.typed("disk")


def view(found: Survey) -> RenderableType:
    """Folders by size, and what can go."""
    from lqmf.cli.views.disk import disk_view

    return disk_view(found.document)
