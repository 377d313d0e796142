"""Verifies an artifact against its manifest: the manifest's form, every file's hash, that the artifact loads, and its
predictions. Each is a named finding.

Reads files; the task that runs the artifact is passed in and runs in a worker. Changes nothing, and needs no network.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import events, workspace
from lqmf.artifacts import manifest_schema
from lqmf.errors import JobCancelled, LqmfError, NotBuilt, NotFound, RemoteCodeRefused, ResourceError, UnsupportedModel
from lqmf.model_files.model_kind import kind_at
from lqmf.records import Artifact, FileEntry, InvalidRecord, Manifest, Task

if TYPE_CHECKING:
    from lqmf.jobs.runner import RunTask


BESIDE = (workspace.MANIFEST, workspace.SIGNATURE)  # what no manifest lists


@dataclass(frozen=True)
class Finding:
    """The result of one check. `passed` None: the check was not possible, and `detail` says why."""

    name: str
    passed: bool | None
    detail: str = ""


def read(artifact: Artifact) -> tuple[Finding, Manifest | None]:
    """Return the finding on the manifest's form, and the manifest; None where it has another form. Raises NotFound for
    an artifact that LQMF did not make, UsageError for no JSON."""
    document = document_of(artifact)
    try:
        return Finding("manifest", True), manifest_schema.read(document)
    except InvalidRecord as error:
        return Finding("manifest", False, "; ".join(error.problems)), None


def document_of(artifact: Artifact) -> Any:
    """Return the JSON in `manifest.json`. Raises as `read` does."""
    if artifact.foreign and artifact.method != "unknown":
        raise NotFound(f"{artifact.name} has no manifest: LQMF did not make it.", "`lqmf list` shows what LQMF made.")
    return workspace.read_json(Path(artifact.path) / workspace.MANIFEST)


# ---------------------------------------------------------------- files


def hashed(folder: Path, entries: Sequence[FileEntry], emit: events.Emit) -> list[dict[str, Any]]:
    """Return [{"path", "problem"}] for each file of the manifest; `problem` is None where size and SHA-256 agree."""
    total, done, started = sum(entry.size_bytes for entry in entries), 0, time.monotonic()
    emit(events.StageStarted(stage="verify", title=f"Reading {folder.name}"))
    found = []
    for entry in entries:
        found.append({"path": entry.path, "problem": _problem(folder, entry)})
        done += entry.size_bytes
        emit(events.Progress(stage="verify", done=done, total=total, unit="bytes"))
    emit(events.StageFinished(stage="verify", seconds=time.monotonic() - started))
    return found


def intact(files: Sequence[Mapping[str, Any]]) -> Finding:
    """Return the finding that no file has a problem."""
    wrong = [file for file in files if file["problem"]]
    told = "; ".join(f"{file['path']} {file['problem']}" for file in wrong)
    return Finding("files", not wrong, told or f"{len(files)} files are as they were made")


def _problem(folder: Path, entry: FileEntry) -> str | None:
    file = folder / entry.path
    if folder.resolve() not in file.resolve().parents:
        return "lies outside the artifact"
    if not file.is_file():
        return "is missing"
    if (size := file.stat().st_size) != entry.size_bytes:
        return f"has {size} bytes instead of {entry.size_bytes}"
    try:
        same = workspace.sha256(file) == entry.sha256
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if same else "has other contents: its SHA-256 differs"


def unlisted(folder: Path, files: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the paths of files in `folder` that the manifest does not name."""
    named = {file["path"] for file in files} | set(BESIDE)
    present = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in present if path not in named)


# ---------------------------------------------------------------- running


async def running(artifact: Artifact, run: RunTask, job: str, log: str, emit: events.Emit) -> list[Finding]:
    """Return the findings that the artifact loads, in a worker, and passes the checks run there. A lack of this machine
    is no fault of the artifact: the finding then has `passed` None."""
    before, params = (artifact.receipt or {}).get("first_logits"), {"artifact": artifact.path}
    try:
        writes = kind_at(Path(artifact.path)) == "decoder"
        kind, more = ("first_logits", {"before": before}) if writes else ("read", {"depth": "quick"})
        told = await run(Task(job, kind, {**params, **more}, log), emit)
    except JobCancelled:
        raise
    except (NotBuilt, UnsupportedModel, RemoteCodeRefused, ResourceError) as error:
        return [Finding("loads", None, error.message)]
    except LqmfError as error:
        return [Finding("loads", False, error.message)]
    found = [Finding("loads", True, f"with {told['engine']}")]
    found += [Finding(str(one["name"]), bool(one["passed"]), str(one["detail"])) for one in told["checks"]]
    if writes and not before:
        found.append(Finding("first_logits", None, "the receipt has none to compare with: `lqmf test` writes them"))
    return found
