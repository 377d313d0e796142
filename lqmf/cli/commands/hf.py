"""`lqmf hf`: log in to Hugging Face, see who is logged in, log out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome, Question

if TYPE_CHECKING:
    from lqmf.app import App

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
    """Ask for a token (nothing is shown), have the Hub confirm it, and keep it."""
    return options.typed("hf_login")


@cli.command()
def status() -> Decision:
    """Show whose token is in use and where it comes from."""
    return options.typed("hf_status")


@cli.command()
def logout() -> Decision:
    """Forget the stored token."""
    return options.typed("hf_logout")


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Log in, say who is, or log out."""
    from lqmf.cli.views.accounts import account_view, logout_view
    from lqmf.hub import auth

    if decision.intent == "hf_logout":
        done = await asyncio.to_thread(auth.logout)
        return Outcome(done, logout_view(done))
    if decision.intent == "hf_status":
        known, endpoint = auth.status_as_known, app.hub.base_url()
        account = await asyncio.to_thread(known, endpoint=endpoint, said=app.tokens())
        return Outcome(account, account_view(account))
    return await _login(ask, app.hub.base_url())


async def _login(ask: Ask, endpoint: str) -> Outcome:
    from lqmf.cli.views.accounts import account_view
    from lqmf.hub import auth

    reply = await ask(_token())
    if reply.kind != "value" or not reply.value:
        return Outcome({"status": "cancelled", "logged_in": False}, "Not logged in.")
    account: dict[str, Any] = await asyncio.to_thread(auth.login, str(reply.value), endpoint=endpoint)
    return Outcome(account, account_view(account))


def _token() -> Question:
    return Question(
        id="hf_token",
        text="Paste your Hugging Face token (nothing is shown):",
        reason="A token with read access is enough: https://huggingface.co/settings/tokens makes one.",
        kind="secret",
    )
