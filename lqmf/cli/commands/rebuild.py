"""`lqmf rebuild`: make an artifact again from its manifest, and say whether the same bytes come out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.rebuild import Remade

COMMAND = Command(
    "rebuild",
    "make an artifact again from its manifest, and compare",
    intents=("rebuild",),
    examples=(
        "lqmf rebuild demo_gguf_4bit_Q4_K_M",
        "lqmf rebuild Q4_K_M --keep --json",
        "lqmf rebuild ./manifest.json",
    ),
    order=105,
    panel="Housekeeping",
    names_artifacts=True,
)


def cli(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME_OR_MANIFEST",
            help="An artifact, or a manifest.json.",
            autocompletion=options.artifact_names,
        ),
    ],
    keep: Annotated[bool, typer.Option("--keep", help="Keep what was made, also where it is the same.")] = False,
) -> Decision:
    """Make the artifact NAME again from its stored source, or from the source fetched at the same commit, and compare
    it byte for byte. A manifest whose artifact is not here becomes an artifact. Exit 1 when it differs."""
    return options.typed("rebuild", name=name, keep_rebuilt=keep or None)


def view(found: Remade) -> RenderableType:
    """Whether the same bytes came out; where not, what differs."""
    from lqmf.cli.views.verified import rebuilt_view

    return rebuilt_view(found.made)
