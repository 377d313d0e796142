"""`lqmf completion`: the script that teaches a shell to complete lqmf's commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lqmf.cli import options
from lqmf.cli.command import Command
from lqmf.operations.result import Result
from lqmf.records import Decision, Request

if TYPE_CHECKING:
    from lqmf.understanding.answers import Ask

COMMAND = Command(
    "completion",
    "a script that completes commands in your shell",
    examples=(
        'eval "$(lqmf completion bash)"',
        "lqmf completion zsh > ~/.zfunc/_lqmf",
        "lqmf completion fish > ~/.config/fish/completions/lqmf.fish",
    ),
    order=230,
    panel="Set-up",
    remembered=False,
    needs_app=False,
)


def cli(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> Decision:
    """Print the completion script for SHELL: commands, options, artifacts' names and types."""
    return options.typed("completion", shell=shell)


@dataclass(frozen=True)
class Script(Result):
    """The script for a shell."""

    shell: str
    script: str


async def run(app: None, request: Request, ask: Ask) -> Script:
    """Return the script, as typer makes it."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from lqmf.cli.shell import COMPLETE
    from lqmf.cli.tree import PROGRAM

    shell = str(request.shell)
    return Script(shell, get_completion_script(prog_name=PROGRAM, complete_var=COMPLETE, shell=shell))


def view(made: Script) -> str:
    """The script alone."""
    return made.script
