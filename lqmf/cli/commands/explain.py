"""`lqmf explain`: what is known of a topic, with sources and what was measured here; a provider may put it in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.explain import Explained, Topics

COMMAND = Command(
    "explain",
    "what a term means, and what was measured of it here",
    intents=("explain",),
    examples=(
        "lqmf explain gptq",
        'lqmf explain "difference between Q4_K_M and Q4_0"',
        'lqmf explain "which type should I use?" --json',
    ),
    order=35,
)


def topics(incomplete: str) -> list[str]:
    """Topics that begin so."""
    from lqmf.knowledge.passages import passages

    return [name for one in passages() if (name := one.words[0]).startswith(incomplete.lower())]


def cli(
    topic: Annotated[
        list[str] | None,
        typer.Argument(metavar="TOPIC", help="A term or a question; the topics if left out.", autocompletion=topics),
    ] = None,
) -> Decision:
    """Explain a term or answer a question on quantization, offline, from notes with their sources."""
    return options.typed("explain", topic=" ".join(topic) if topic else None)


def view(found: Explained | Topics) -> RenderableType:
    """Passages, figures and the answer; or the topics."""
    from lqmf.cli.views.knowledge import explained_view, topics_view
    from lqmf.operations.explain import Topics

    return topics_view(found.passages) if isinstance(found, Topics) else explained_view(found.document)
