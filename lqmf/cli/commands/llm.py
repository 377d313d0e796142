"""`lqmf llm`: who may help the planner, how they are, and switching between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.declared import providers
from lqmf.operations.llm import OFF
from lqmf.records import Decision

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lqmf.operations.llm import Standing, Switched, Tried

COMMAND = Command(
    "llm",
    "language models that may help the planner: status, switch, test",
    intents=("llm_status", "llm_switch"),
    examples=(
        "lqmf llm status",
        "lqmf llm switch claude",
        "lqmf llm switch local --artifact my-model_gguf_4bit_Q4_K_M",
        "lqmf llm switch none",
        "lqmf llm test --json",
    ),
    order=230,
    panel="Set-up",
    remembered=False,
)
cli = typer.Typer(invoke_without_command=True)


def provider_names(incomplete: str) -> list[str]:
    """Providers that begin so."""
    from lqmf.settings import provider_names as known

    return [name for name in (*known(), OFF) if name.startswith(incomplete)]


_Provider = Annotated[
    str,
    typer.Argument(
        metavar="PROVIDER",
        help=f"{', '.join(one.name for one in providers.asked())}, or none.",
        autocompletion=provider_names,
    ),
]


@cli.callback()
def everything(context: typer.Context) -> Decision | None:
    """No provider is needed: the planner's own rules and figures decide. One may advise it."""
    return None if context.invoked_subcommand else options.typed("llm_status")


@cli.command()
def status() -> Decision:
    """Show each provider: its key and where that is from, its model, the last call, how it is. Nobody is asked."""
    return options.typed("llm_status")


@cli.command()
def switch(
    provider: _Provider,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="The model to ask there.")] = None,
    artifact: Annotated[
        str | None,
        typer.Option(
            "--artifact",
            metavar="NAME",
            help="With local: an artifact of yours that helps, in place of a server.",
            autocompletion=options.artifact_names,
        ),
    ] = None,
) -> Decision:
    """Choose who helps, in the workspace's config.json; none leaves the planner to its rules."""
    return options.typed("llm_switch", provider=provider.lower(), provider_model=model, artifact=artifact)


@cli.command("test")
def try_out(
    provider: Annotated[
        str | None,
        typer.Argument(metavar="PROVIDER", help="The one in use, if left out.", autocompletion=provider_names),
    ] = None,
) -> Decision:
    """Ask one small real question: does it answer, how fast, with how many tokens, at what cost."""
    return options.typed("llm_status", action="test", provider=provider and provider.lower())


def view(found: Standing | Switched | Tried) -> RenderableType:
    """How providers stand, what was switched, or what a test gave."""
    from lqmf.cli.views.llm import status_view, switched_view, tested_view
    from lqmf.operations.llm import Switched, Tried

    if isinstance(found, Switched):
        return switched_view(found.document)
    return tested_view(found.document) if isinstance(found, Tried) else status_view(found.document)
