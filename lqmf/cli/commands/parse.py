"""`lqmf parse`: what a sentence was understood as; nothing is done."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision, Request

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.app import App
    from lqmf.operations.parse import Dialogue, Parsed
    from lqmf.understanding.answers import Ask

COMMAND = Command(
    "parse",
    "what a sentence is understood as; nothing is done",
    examples=(
        'lqmf parse "quantize mistral 7b to 4 bits for cpu"',
        'lqmf parse "how big would gpt2 be in 5 bits?" --json',
        "lqmf parse --json - < dialogue.txt",
        'lqmf parse --llm "something small for my old laptop"',
    ),
    order=30,
    remembered=False,
    heard=False,
)


def cli(
    sentence: Annotated[
        list[str],
        typer.Argument(metavar="SENTENCE", help="The sentence; - reads a dialogue from stdin, a sentence a line."),
    ],
    llm: Annotated[
        bool, typer.Option("--llm", help="Also ask the provider in use, and show what of its reading would stand.")
    ] = False,
) -> Decision:
    """Say what a sentence is understood as: intent, slots, confidence, and the rule that read it so."""
    return options.typed("parse", text=" ".join(sentence), llm=llm or None)


async def run(app: App, request: Request, ask: Ask) -> Parsed | Dialogue:
    """Read the sentence, or the dialogue that comes from stdin, which only a command line has."""
    from lqmf.operations import parse

    if request.text == "-":
        request = dataclasses.replace(request, lines=tuple(sys.stdin.read().splitlines()))
    return await parse.run(app, request, ask)


def view(found: Parsed | Dialogue) -> RenderableType | str:
    """A sentence as a small table, beside a provider's reading of it; a dialogue as lines of JSON."""
    from lqmf.cli.views.decisions import both_view, decision_view
    from lqmf.operations.parse import Dialogue, proposed

    if isinstance(found, Dialogue):
        return "\n".join(json.dumps(one) for one in found.document)
    if found.reading is not None:
        return both_view(found.decision, proposed(found.reading))
    return decision_view(found.decision)
