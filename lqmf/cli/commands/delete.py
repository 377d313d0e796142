"""`lqmf delete`: remove an artifact's folder; its record stays. Asks first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.delete import Deleted

COMMAND = Command(
    "delete",
    "remove an artifact; asks first, and its record stays",
    intents=("delete",),
    examples=("lqmf delete demo_gguf_8bit_Q8_0", "lqmf delete demo_gguf_8bit_Q8_0 --force --json"),
    order=110,
    panel="Housekeeping",
    names_artifacts=True,
)


def cli(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="An artifact of this workspace.", autocompletion=options.artifact_names),
    ],
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
) -> Decision:
    """Delete the folder of the artifact NAME. It is asked before; with --force it is not."""
    return options.typed("delete", name=name, force=force or None)


def view(found: Deleted) -> RenderableType | str:
    """What is gone, and how much space that freed."""
    from lqmf.cli.views.messages import done_view
    from lqmf.units import file_size

    if not found.artifacts:
        return "Nothing was deleted."
    freed = file_size(sum(artifact.size_bytes for artifact in found.artifacts))
    names = ", ".join(artifact.name for artifact in found.artifacts)
    return done_view(f"Deleted {names}: {freed} freed. The record stays.")
