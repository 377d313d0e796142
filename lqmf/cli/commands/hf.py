"""`lqmf hf`: log in to Hugging Face, see who is logged in, log out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.hf import Account, LoggedOut, NotLoggedIn

COMMAND = Command(
    "hf",
    "log in to Hugging Face; status; log out",
    intents=("hf_login", "hf_status", "hf_logout"),
    examples=("lqmf hf login", "lqmf hf status --json", "lqmf hf logout"),
    order=220,
    panel="Set-up",
    remembered=False,
)
cli = typer.Typer(invoke_without_command=True)


@cli.callback()
def everything(context: typer.Context) -> Decision | None:
    """Gated and private models need a token. It is kept in huggingface_hub's own store, readable by you alone."""
    return None if context.invoked_subcommand else options.typed("hf_status")


@cli.command()
def login() -> Decision:
    """Ask for a token (shown as stars), have the Hub confirm it, and keep it."""
    return options.typed("hf_login")


@cli.command()
def status() -> Decision:
    """Show whose token is in use and where it comes from."""
    return options.typed("hf_status")


@cli.command()
def logout() -> Decision:
    """Forget the stored token."""
    return options.typed("hf_logout")


def view(found: Account | LoggedOut | NotLoggedIn) -> RenderableType | str:
    """Who is logged in, or what is left after logging out."""
    from lqmf.cli.views.accounts import account_view, logout_view
    from lqmf.operations.hf import LoggedOut, NotLoggedIn

    if isinstance(found, NotLoggedIn):
        return "Not logged in."
    return (logout_view if isinstance(found, LoggedOut) else account_view)(found.told)
