"""hf: log in to Hugging Face, see who is logged in, log out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.operations.result import Result, Told
from lqmf.records import Question, Request

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask

TOKEN = Question(
    id="hf_token",
    text="Paste your Hugging Face token (shown as stars):",
    reason="A token with read access is enough: https://huggingface.co/settings/tokens makes one.",
    kind="secret",
)


class Account(Told):
    """Whose token is in use, as `lqmf.hub.auth` tells of it."""


class LoggedOut(Told):
    """What logging out removed, as `lqmf.hub.auth` tells of it."""


@dataclass(frozen=True)
class NotLoggedIn(Result):
    """No token was given."""

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "cancelled", "logged_in": false}`."""
        return {"status": "cancelled", "logged_in": False}


async def run(app: App, request: Request, ask: Ask) -> Account | LoggedOut | NotLoggedIn:
    """Log in, say who is, or log out."""
    from lqmf.hub import auth

    if request.intent == "hf_logout":
        return LoggedOut(await asyncio.to_thread(auth.logout))
    endpoint = app.hub.base_url()
    if request.intent == "hf_status":
        return Account(await asyncio.to_thread(auth.status_as_known, endpoint=endpoint, said=app.tokens()))
    reply = await ask(TOKEN)
    if reply.kind != "value" or not reply.value:
        return NotLoggedIn()
    return Account(await asyncio.to_thread(auth.login, str(reply.value), endpoint=endpoint))
