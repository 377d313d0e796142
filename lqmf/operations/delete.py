"""delete: remove an artifact's folder; its record stays. Asks first."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.artifacts import shelf
from lqmf.errors import NotFound, UsageError
from lqmf.operations.result import Result
from lqmf.records import Artifact, Question, Request, yes_or_no
from lqmf.units import file_size

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Deleted(Result):
    """The artifacts whose folders are gone; none where the user said no."""

    artifacts: tuple[Artifact, ...]

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "done"/"cancelled", "deleted": names}`."""
        names = [artifact.name for artifact in self.artifacts]
        return {"status": "done" if names else "cancelled", "deleted": names}


async def run(app: App, request: Request, ask: Ask) -> Deleted:
    """Ask about what is named, then remove it. Raises UsageError, NotFound, AmbiguousName, NeedsInput."""
    names = request.names or ((request.name,) if request.name else ())
    if not names:
        raise UsageError("Which artifact shall be deleted?", "Say `delete NAME`; `list` shows the names.")
    artifacts = [_found(app, name) for name in names]
    if not request.force:
        reply = await ask(_sure(artifacts))
        if reply.kind != "value" or reply.value is not True:
            return Deleted(())
    for artifact in artifacts:
        _remove(app, artifact)
    return Deleted(tuple(artifacts))


def _found(app: App, name: str) -> Artifact:
    """Return an artifact that lies in this workspace. Raises UsageError for one elsewhere: that is not ours to
    delete."""
    artifact = app.shelf.find(name)
    home = app.workspace.artifacts.resolve()
    if home not in Path(artifact.path).resolve().parents:
        raise UsageError(f"{artifact.path} is not in {home}.", "Only what lies there is deleted; remove it yourself.")
    return artifact


def _remove(app: App, artifact: Artifact) -> None:
    """Hide an artifact in one step, then remove it; its record stays. Raises LqmfError."""
    for path in shelf.paths(artifact):
        workspace.remove(path)
    with contextlib.suppress(NotFound):  # a file that someone dropped there was never recorded
        app.memory.forget(artifact.name)


def _sure(artifacts: list[Artifact]) -> Question:
    what = " and ".join(f"{artifact.name} ({file_size(artifact.size_bytes)})" for artifact in artifacts)
    return yes_or_no(
        "delete",
        f"Delete {what}? This cannot be undone.",
        "The files are gone then; what is recorded about them stays.",
    )
