"""`lqmf publish`: artifacts of one model into one repository of the Hugging Face Hub. Asks first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.publish import Published
    from lqmf.operations.result import Cancelled

COMMAND = Command(
    "publish",
    "put artifacts into one repository of the Hugging Face Hub; asks first",
    intents=("publish",),
    examples=(
        "lqmf publish demo_gguf_4bit_Q4_K_M demo_gguf_8bit_Q8_0",
        "lqmf publish Q4_K_M --to my-name/Model-GGUF --private",
    ),
    order=95,
    panel="Records",
    names_artifacts=True,
)


def cli(
    names: options.Names,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="OWNER/NAME", help="The repository; left out: yours, named as MODEL-GGUF."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make it one that only you see.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
) -> Decision:
    """Upload the artifacts NAME, several types of one model, with one card that has a row for each. HF_ENDPOINT names
    another Hub. It is asked before; with --force it is not."""
    return options.typed("publish", names=names, to=to, private=private or None, force=force or None)


def view(found: Published | Cancelled) -> RenderableType | str:
    """Where it is now."""
    from lqmf.cli.views.messages import done_view
    from lqmf.operations.result import Cancelled

    if isinstance(found, Cancelled):
        return found.text
    seen = "only you see it" if found.private else "everybody sees it"
    return done_view(f"Published {', '.join(found.artifacts)}: {found.url} ({seen}).")
