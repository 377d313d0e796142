"""show: all that is known of an artifact, a job or a model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.operations.result import Result
from lqmf.operations.unfinished import judged, settle
from lqmf.records import Request, readable

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Known(Result):
    """The record of one thing; its "kind" is artifact, job or model."""

    record: Mapping[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        """The record itself."""
        return dict(self.record)


async def run(app: App, request: Request, ask: Ask) -> Known:
    """Return the record of what is named; without a name, of the newest artifact. Raises NotFound, AmbiguousName."""
    name = request.name or request.model or app.shelf.find(None).name
    settle(app)
    record = app.memory.show(name)
    if record["kind"] == "artifact" and record["receipt"] is not None:
        record = {**record, "receipt": readable(record["receipt"])}
    if record["kind"] == "job" and record["status"] != "running":
        record = {**record, "next": judged(app, {**record, "kind": record["job_kind"]}).command or None}
    if record["kind"] == "artifact" and not record.get("deleted_at"):
        record = {**record, "run": _run_lines(Path(record["path"]), record["name"])}
    return Known(record)


def _run_lines(folder: Path, name: str) -> dict[str, str] | None:
    """Return the lines that run an artifact elsewhere as it was planned for; None for a file without a manifest."""
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
