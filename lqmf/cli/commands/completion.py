"""`lqmf completion`: the script that teaches a shell to complete lqmf's commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

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


async def act(app: App | None, decision: Decision, ask: Ask) -> Outcome:
    """The script, as typer makes it."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from lqmf.cli.shell import COMPLETE
    from lqmf.cli.tree import PROGRAM

    script = get_completion_script(prog_name=PROGRAM, complete_var=COMPLETE, shell=decision.slots["shell"])
    return Outcome({"shell": decision.slots["shell"], "script": script}, script)
