"""`lqmf delete`: remove an artifact's folder; its record stays. Asks first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.errors import UsageError
from lqmf.records import Artifact, Decision, Option, Outcome, Question

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "delete",
    "remove an artifact; asks first, and its record stays",
    intents=("delete",),
    examples=("lqmf delete demo_gguf_8bit_Q8_0", "lqmf delete demo_gguf_8bit_Q8_0 --force --json"),
    order=110,
    panel="Housekeeping",
    names_artifacts=True,
)


def cli(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="An artifact of this workspace.", autocompletion=options.artifact_names),
    ],
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
) -> Decision:
    """Delete the folder of the artifact NAME. --yes is no answer to that question; --force is."""
    return options.typed("delete", name=name, force=force or None)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """Ask about what is named, then remove it."""
    artifacts = [find(app, name) for name in _named(decision)]
    if not decision.slots.get("force"):
        reply = await ask(_sure(artifacts))
        if reply.kind != "value" or reply.value is not True:
            return Outcome({"status": "cancelled", "deleted": []}, "Nothing was deleted.")
    for artifact in artifacts:
        app.pipeline.delete(artifact)
    data = {"status": "done", "deleted": [artifact.name for artifact in artifacts]}
    return Outcome(data, _told(artifacts))


def _named(decision: Decision) -> list[str]:
    names = decision.slots.get("names") or [decision.slots.get("name")]
    if not names[0]:
        raise UsageError("Which artifact shall be deleted?", "Say `delete NAME`; `list` shows the names.")
    return list(names)


def find(app: App, name: str) -> Artifact:
    """An artifact that lies in this workspace. Raises UsageError for one elsewhere: that is not ours to delete."""
    artifact = app.pipeline.find(name)
    home = app.workspace.artifacts.resolve()
    if home not in Path(artifact.path).resolve().parents:
        raise UsageError(f"{artifact.path} is not in {home}.", "Only what lies there is deleted; remove it yourself.")
    return artifact


def _sure(artifacts: list[Artifact]) -> Question:
    from lqmf.units import file_size

    what = " and ".join(f"{artifact.name} ({file_size(artifact.size_bytes)})" for artifact in artifacts)
    return Question(
        id="delete",
        text=f"Delete {what}? This cannot be undone.",
        options=(Option(True, "yes"), Option(False, "no")),
        default=False,
        reason="The files are gone then; what is recorded about them stays.",
        kind="confirm",
    )


def _told(artifacts: list[Artifact]) -> object:
    from lqmf.cli.views.messages import done_view
    from lqmf.units import file_size

    freed = file_size(sum(artifact.size_bytes for artifact in artifacts))
    return done_view(f"Deleted {', '.join(artifact.name for artifact in artifacts)}: {freed} freed. The record stays.")
