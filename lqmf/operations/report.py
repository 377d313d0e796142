"""report: one HTML page on artifacts, with charts and tables.

On request it is measured first which tensors lose how much.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.artifacts import shelf
from lqmf.errors import JobCancelled, LqmfError, MeasurementError, NotFound, UsageError
from lqmf.events import Notice
from lqmf.operations.result import Result
from lqmf.records import Artifact, Request
from lqmf.store.artifacts import known_as

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask

OUT = "report.html"


@dataclass(frozen=True)
class Reported(Result):
    """Where the page lies, on which artifacts it is, and which of them were measured by layer for it."""

    path: Path
    size_bytes: int
    artifacts: tuple[str, ...]
    measured: tuple[str, ...]

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "ok", "path", "size_bytes", "artifacts", "measured"}`."""
        names, measured = list(self.artifacts), list(self.measured)
        told = {"path": str(self.path), "size_bytes": self.size_bytes, "artifacts": names, "measured": measured}
        return {"status": "ok", **told}


async def run(app: App, request: Request, ask: Ask) -> Reported:
    """Write the page on what is named; without names, on all artifacts, the newest first."""
    from lqmf.report.report import report

    artifacts = _named(app, list(request.names or ([request.name] if request.name else [])))
    path = _writable(Path(request.out or OUT).expanduser().absolute(), bool(request.force))
    measured = await _layers(app, artifacts) if request.layers else []
    models = {artifact.model for artifact in artifacts}
    earlier = [row for row in app.memory.list_records(status="ok", deleted=True) if row["model"] in models]
    text = await asyncio.to_thread(report, artifacts, app.workspace.benchmarks, earlier, app.hardware())
    workspace.write_text(path, text)
    return Reported(path, path.stat().st_size, tuple(artifact.name for artifact in artifacts), tuple(measured))


def _named(app: App, names: list[str]) -> list[Artifact]:
    """Return the artifacts that are meant, each once. Raises NotFound, AmbiguousName."""
    found = [app.shelf.find(name) for name in names] if names else app.shelf.artifacts()
    if not found:
        raise NotFound("There is no artifact yet to report on.", "`lqmf quantize demo` makes one.")
    return list({artifact.path: artifact for artifact in found}.values())


def _writable(path: Path, force: bool) -> Path:
    """Return `path`, if the page may be written there. Raises UsageError for a folder, and without `force` for a file
    that is something else."""
    from lqmf.report.page import is_ours

    if path.is_dir():
        raise UsageError(f"{path} is a folder.", f"Name a file: `--out {path / OUT}`.")
    if path.exists() and not force and not (path.is_file() and is_ours(path)):
        raise UsageError(f"{path} is no report of LQMF's.", "Choose another `--out`, or say `--force` to overwrite it.")
    return path


async def _layers(app: App, artifacts: list[Artifact]) -> list[str]:
    """Measure by layer each artifact that was not yet, and return their names. What cannot be is told of, and left."""
    from lqmf.report.subjects import subjects

    names = []
    for subject in subjects(artifacts, app.workspace.benchmarks):
        if subject.layers is not None:
            continue
        try:
            await _measure(app, subject.artifact)
        except LqmfError as error:
            if isinstance(error, JobCancelled):
                raise
            app.bus.publish(Notice(text=f"{subject.name} is not measured by layer: {error.message}", level="warning"))
            continue
        names.append(subject.artifact.name)
    return names


async def _measure(app: App, artifact: Artifact) -> None:
    """Measure what each tensor of a GGUF artifact loses, and keep it under benchmarks/. Raises MeasurementError where
    there is no source to compare with, and what measuring raises."""
    manifest = shelf.manifest_of(artifact)
    with app.pipeline.job("layers", known_as(artifact), artifact.name) as (context, _):
        async with app.sources.base(context, artifact, manifest) as base:
            if base.path is None:
                why = str(base.reason)
                remedy = f"`lqmf show {artifact.name}` names what it was made from."
                raise MeasurementError(f"{why[:1].upper()}{why[1:]}.", remedy)
            told = await app.feedback.layers(artifact, base.path, context)
        app.pipeline.keep(context.job, artifact, told)
