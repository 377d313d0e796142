"""`lqmf config`: settings, where each came from, and how to set one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.config import Described, Located, Written

COMMAND = Command(
    "config",
    "settings, and where each value came from",
    intents=("config",),
    examples=(
        "lqmf config get",
        "lqmf config get storage_backend --json",
        "lqmf config set max_retries 5",
        "lqmf config path",
    ),
    order=210,
    panel="Set-up",
    remembered=False,
)
cli = typer.Typer(invoke_without_command=True)


@cli.callback()
def everything(context: typer.Context) -> Decision | None:
    """Settings come from options, the environment, .env and config.json, in this order; `get` says which."""
    return None if context.invoked_subcommand else options.typed("config")


@cli.command()
def get(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="A setting; all if left out.")] = None,
) -> Decision:
    """Show a setting, or all of them, with where the value came from."""
    return options.typed("config", key=key)


@cli.command()
def set(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A setting.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its new value.")],
) -> Decision:
    """Set a setting in the workspace's config.json."""
    return options.typed("config", key=key, value=value)


@cli.command()
def path() -> Decision:
    """Show where config.json is, and why there."""
    return options.typed("config", action="path")


def view(found: Described | Written | Located) -> RenderableType | str:
    """Settings with their origins, what was written, or where config.json is."""
    from lqmf.cli.views.settings import settings_view, written_view
    from lqmf.operations.config import Located, Written

    if isinstance(found, Located):
        return found.path
    return written_view(found) if isinstance(found, Written) else settings_view(found.settings, found.root)
