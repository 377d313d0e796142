"""`lqmf verify`: is an artifact still what its manifest says: form, hashes, signature, loading, first predictions?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.errors import UsageError
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.verify import Verified

COMMAND = Command(
    "verify",
    "check an artifact's files, manifest and signature, and run it",
    intents=("verify",),
    examples=(
        "lqmf verify demo_gguf_4bit_Q4_K_M",
        "lqmf verify Q4_K_M --quick --json",
        "lqmf verify Q4_K_M --sign ~/keys/mine.pem --new-key",
        "lqmf verify Q4_K_M --key ~/keys/mine.public.pem",
    ),
    order=100,
    panel="Housekeeping",
    names_artifacts=True,
)


def cli(
    name: options.RequiredName,
    quick: Annotated[bool, typer.Option("--quick", help="Do not load it: form, hashes and signature alone.")] = False,
    key: Annotated[
        str | None, typer.Option("--key", metavar="PUBLIC.pem", help="Check the signature with this Ed25519 key.")
    ] = None,
    sign: Annotated[
        str | None, typer.Option("--sign", metavar="PRIVATE.pem", help="Sign the manifest, if all else is right.")
    ] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="With --sign: make that key first.")] = False,
) -> Decision:
    """Check the artifact NAME against its manifest, load it and look at its first predictions. Exit 1 when something
    is not as it was made."""
    if new_key and not sign:
        raise UsageError("--new-key needs --sign, which says where the key is to lie.", "`--sign mine.pem --new-key`")
    return options.typed("verify", name=name, quick=quick or None, key=key, sign=sign, new_key=new_key or None)


def view(found: Verified) -> RenderableType:
    """Each finding, and what it comes to."""
    from lqmf.cli.views.verified import verified_view

    refused = found.to_sign and not found.ok
    return verified_view(
        found.artifact, found.findings, found.files, found.unlisted, found.signed_with, refused=refused
    )
