"""`lqmf show`: all that is known of an artifact, a job or a model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "show",
    "all that is known of an artifact, a job or a model",
    intents=("show",),
    examples=("lqmf show demo_gguf_4bit_Q4_K_M", "lqmf show org/name", "lqmf show Q4_K_M --json"),
    order=70,
    panel="Records",
)


def cli(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="An artifact, a job or a model; the newest artifact if left out.",
            autocompletion=options.artifact_names,
        ),
    ] = None,
) -> Decision:
    """Show what is recorded of an artifact, a job or a model; a part of the name will do where it is the only one."""
    return options.typed("show", name=name)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """The record of what is named; without a name, of the newest artifact."""
    from lqmf.cli.views.records import show_view

    name = decision.slots.get("name") or decision.slots.get("model") or app.pipeline.find(None).name
    record = app.memory.show(name)
    if record["kind"] == "artifact" and not record.get("deleted_at"):
        record = {**record, "run": _ready(Path(record["path"]), record["name"])}
    return Outcome(record, show_view(record))


def _ready(folder: Path, name: str) -> dict[str, str] | None:
    """The lines that run an artifact elsewhere as it was planned for; None for a file that came without a manifest."""
    from lqmf import workspace
    from lqmf.artifacts import run_lines, shelf

    if not (folder / workspace.MANIFEST).is_file():
        return None
    found = run_lines.of_manifest(shelf.manifest(folder))
    if found is None:
        return None
    modelfile = folder / workspace.MODELFILE
    lines = run_lines.ready(name, found[0], str(folder / found[1]), str(modelfile))
    write = "" if modelfile.is_file() else f"{shlex.join(['lqmf', 'docs', name])}\n"  # it was made before there was one
    return {**lines, "ollama": write + lines["ollama"]}
