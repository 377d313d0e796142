"""`lqmf test`: how good an artifact is, measured against its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import gating, options
from lqmf.cli.command import Command
from lqmf.errors import UsageError
from lqmf.quality.address import is_address
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.result import Cancelled
    from lqmf.operations.test import Listing, Tested

COMMAND = Command(
    "test",
    "measure an artifact, or anyone's file, against its source",
    intents=("test",),
    examples=(
        "lqmf test list",
        "lqmf test discover",
        "lqmf test demo_gguf_4bit_Q4_K_M",
        "lqmf test demo --comprehensive --json",
        "lqmf test ./model-Q4_K_M.gguf --base org/model --gate",
        "lqmf test http://127.0.0.1:8080/v1 --model NAME",
    ),
    order=40,
    names_artifacts=True,
)
LISTING = ("list", "discover")


def cli(
    name: options.Name,
    quick: Annotated[bool, typer.Option("--quick", help="Two minutes at most.")] = False,
    comprehensive: Annotated[
        bool, typer.Option("--comprehensive", help="Every window of the evaluation text.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="What it was made from: a model, its folder, or a 16-bit GGUF."),
    ] = None,
    model: options.ServedModel = None,
    gate: gating.Gate = None,
) -> Decision:
    """Test the artifact NAME and write its receipt. `list` shows what can be tested, `discover` looks on disk anew.

    A GGUF file or a folder of quantized safetensors that someone else made is measured against --base MODEL; its
    receipt is kept beside it. NAME may be the address of any OpenAI-compatible server, like http://127.0.0.1:8080/v1;
    LOCAL_API_KEY is sent to it where that is set."""
    if quick and comprehensive:
        raise UsageError("--quick and --comprehensive exclude each other.", "Leave one of them out.")
    if name in LISTING:
        if base is not None:
            raise UsageError("--base is for one file or artifact.", "Name it: `lqmf test FILE --base MODEL`.")
        return options.typed("test", action=name)
    depth = "quick" if quick else "comprehensive" if comprehensive else None
    if model and not is_address(name):
        raise UsageError("--model is for an address.", "lqmf test http://127.0.0.1:8080/v1 --model NAME")
    if base and is_address(name):
        raise UsageError("An address cannot be held against --base.", "Leave --base out, or name the model's file.")
    return options.typed("test", name=name, test=depth, base=base, served=model, gate=gate or None)


def view(found: Tested | Listing | Cancelled) -> RenderableType | str:
    """The receipt, or what can be tested."""
    from rich.console import Group

    from lqmf.cli.views.artifacts import artifacts_view, feedback_lines
    from lqmf.cli.views.receipts import receipt_view
    from lqmf.operations.test import Listing, Tested
    from lqmf.records import to_json

    if isinstance(found, Listing):
        return artifacts_view(found.artifacts)
    if isinstance(found, Tested):
        return Group(receipt_view(found.artifact, to_json(found.receipt)), *feedback_lines(found.feedback))
    return found.text
