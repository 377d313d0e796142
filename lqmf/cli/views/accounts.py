"""How a Hugging Face account looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType

from lqmf.cli.views.messages import done_view, notice_view
from lqmf.cli.views.tables import cell, facts

ORIGINS = {"cache": "huggingface_hub's own store", "hf cli": "the hf command's store", "none": "nowhere"}


def account_view(account: Mapping[str, Any]) -> RenderableType:
    """Who is logged in, and where the token comes from."""
    origin = ORIGINS.get(account["source"], account["source"])
    if account["logged_in"] is None:
        return notice_view(f"A token from {origin}; {account['reason']}", warning=True)
    if not account["logged_in"]:
        return notice_view("Not logged in to Hugging Face. Open models need no login; `hf login` does it.")
    rows = facts(
        [
            ("  name", account.get("fullname")),
            ("  plan", account.get("plan")),
            ("  organisations", ", ".join(account.get("orgs") or ()) or None),
            ("  token", f"{cell(account.get('token_role'))} access, from {origin}"),
        ]
    )
    parts: list[RenderableType] = [done_view(f"Logged in to Hugging Face as {cell(account.get('user'))}."), rows]
    if account.get("overridden_by"):
        parts.append(notice_view(f"{account['overridden_by']} in the environment still comes first.", warning=True))
    return Group(*parts)


def logout_view(done: Mapping[str, Any]) -> RenderableType:
    """What is left after logging out."""
    said = (
        done_view("Logged out: the stored token is gone.")
        if done["logged_out"]
        else notice_view("No token was stored.")
    )
    if not done.get("still_set"):
        return said
    return Group(said, notice_view(f"{done['still_set']} in the environment still holds a token.", warning=True))
