"""Rebuilds an artifact from its manifest: checks source and versions before, and compares the result with the original.

The pipeline carries the rebuild out as a job; this module has its special parts: reading the manifest, refusing a
source that has changed, and judging the result before it is shown to anyone. Knows manifests and files; plans nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import installed, workspace
from lqmf.artifacts import manifest_schema, verify
from lqmf.errors import JobCancelled, LqmfError, ModelError, ModelNotFound, NotFound, UsageError
from lqmf.events import Emit, Progress, StageFinished, StageStarted
from lqmf.quality.checks import differences
from lqmf.quality.checks.differences import Difference
from lqmf.quantization.gguf.converter import adapter
from lqmf.quantization.promise import Built
from lqmf.records import Artifact, InvalidRecord, Manifest, ModelInfo, QuantizationPlan, Task, from_json
from lqmf.texts import calibration as calibration_text
from lqmf.texts.calibration_text import HUB
from lqmf.texts.evaluation import EVALUATION, MAIN
from lqmf.version import VERSION

if TYPE_CHECKING:
    from lqmf.jobs.runner import JobContext, RunTask


WINDOWS = 16  # of the evaluation text, to see how much a difference matters
WEIGHTS = (".gguf", ".safetensors")


@dataclass(frozen=True)
class Original:
    """The artifact to rebuild. `folder` is where its files are, None where there is only the manifest."""

    name: str
    manifest: Manifest
    folder: Path | None

    @property
    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of every file that a rebuild makes, by path."""
        return {file.path: file.sha256 for file in self.manifest.files if file.immutable}

    def is_in(self, shelf: Path) -> bool:
        """Tell whether the original is an artifact in the folder `shelf`."""
        return self.folder is not None and self.folder.resolve().parent == shelf.resolve()

    @property
    def key(self) -> str:
        """Return a key of the original's hashes that names the rebuild's work, so that an interrupted rebuild is
        resumed."""
        return hashlib.sha256(repr(sorted(self.hashes.items())).encode()).hexdigest()[:8]


def original(what: str | None, find: Callable[[str | None], Artifact]) -> Original:
    """Return the original that `what` names: an artifact, or a path to a manifest. Raises NotFound, AmbiguousName, and
    UsageError for a file that is not a manifest."""
    path = Path(what).expanduser() if what and what.endswith(".json") else None
    if path is not None:
        if not path.is_file():
            raise NotFound(f"There is no manifest {path}.", "`lqmf list` shows artifacts that can be named instead.")
        folder, document = path.parent, workspace.read_json(path)
    else:
        artifact = find(what)
        folder, document = Path(artifact.path), verify.document_of(artifact)
    try:
        manifest = manifest_schema.read(document)
    except InvalidRecord as error:
        raise UsageError(
            f"{path or folder} is no manifest that can be followed: {error}.", "Restore the file."
        ) from error
    found = Original(manifest.name, manifest, folder)
    whole = path is None or all((folder / name).is_file() for name in found.hashes)
    return found if whole else dataclasses.replace(found, folder=None)


def plan_of(manifest: Manifest, *, gpu: bool) -> QuantizationPlan:
    """Return the plan to follow, for the manifest's model and commit: without permission to run a model's own Python,
    which a manifest cannot give; without keeping 16-bit files; on the CPU where there is no GPU."""
    plan = from_json(QuantizationPlan, manifest.plan)
    device = plan.device if gpu else "cpu"
    return dataclasses.replace(
        plan, allow_remote_code=False, keep_16bit=False, device=device, commit=manifest.commit, model=manifest.model
    )


# ---------------------------------------------------------------- the source


def refuse_changed(manifest: Manifest, info: ModelInfo, stored: Path | None, emit: Emit) -> None:
    """Raise ModelError, naming the file, where the source, the calibration file or the adapter is not the one that the
    artifact was made from. Files that are not here yet are judged by their hashes on the Hub at that commit."""
    told, there = manifest.source_sha256, {file.path: file for file in info.files}
    for name in sorted(told.keys() ^ there.keys()):
        raise _changed(manifest, f"{name} {'is gone' if name in told else 'was not there then'}")
    known = {name: file.sha256 for name, file in there.items() if file.sha256}
    for name, digest in known.items():
        if digest != told[name]:
            raise _changed(manifest, f"{name} is another file now")
    if stored is not None:
        _refuse_changed_files(manifest, info, stored, emit)
    plan = from_json(QuantizationPlan, manifest.plan)
    _refuse_changed_calibration(manifest, plan.calibration)
    if plan.adapter and manifest.adapter and not _is_adapter(Path(plan.adapter), manifest.adapter["sha256"]):
        raise _changed(manifest, f"the adapter {manifest.adapter['name']} is another one now, or gone")


def _refuse_changed_files(manifest: Manifest, info: ModelInfo, folder: Path, emit: Emit) -> None:
    started, total, done = time.monotonic(), sum(file.size_bytes for file in info.files), 0
    emit(StageStarted(stage="source", title="Reading the source"))
    for file in info.files:
        if workspace.sha256(folder / file.path) != manifest.source_sha256[file.path]:
            raise _changed(manifest, f"{file.path} is another file now")
        done += file.size_bytes
        emit(Progress(stage="source", done=done, total=total, unit="bytes"))
    emit(StageFinished(stage="source", seconds=time.monotonic() - started))


def _is_adapter(folder: Path, digest: str) -> bool:
    try:
        return adapter.fingerprint(folder) == digest
    except OSError:
        return False


def _refuse_changed_calibration(manifest: Manifest, said: str | None) -> None:
    """Check a calibration file of the user; the built-in texts belong to a version of LQMF, and a dataset is fetched
    later."""
    told = manifest.imatrix or manifest.calibration
    if said is None or said.startswith(HUB) or told is None:
        return
    path, digest = Path(said).expanduser(), told.get("text_sha256")
    now = calibration_text.of_file(path).sha256 if digest else _digest(path)
    if now != (digest or told.get("imatrix_sha256")):
        raise _changed(manifest, f"{path.name}, which it was calibrated on, is another file now")


def _digest(path: Path) -> str | None:
    return workspace.sha256(path) if path.is_file() else None


def _changed(manifest: Manifest, what: str) -> ModelError:
    remedy = f"Bring the files back as they were, or make a new one: `lqmf quantize {manifest.model.id}`."
    return ModelError(f"The source of {manifest.name} has changed: {what}.", remedy)


def refuse_gone(manifest: Manifest, stored: Path | None) -> None:
    """Raise ModelNotFound for a local source whose folder is not there; a source on the Hub may be fetched again."""
    if stored is None and manifest.model.kind == "local":
        raise gone(manifest, f"there is no folder {manifest.model.path}.")


def gone(manifest: Manifest, why: str) -> ModelNotFound:
    """Return the error for a source that cannot be found, for the reason `why`."""
    at = f" at {manifest.commit}" if manifest.commit else ""
    return ModelNotFound(
        f"The source of {manifest.name}, {manifest.model.id}{at}, cannot be had any more: {why}",
        "Bring it back, or log in where it is private (`lqmf hf login`); `lqmf verify` needs no source.",
    )


# ---------------------------------------------------------------- versions


def other_versions(then: Mapping[str, str], built: Mapping[str, str] | None = None) -> list[dict[str, str | None]]:
    """Return [{"name", "then", "now"}] of the programs that made the artifact in another version than is here. `built`
    are the versions that a job reports; versions that are not known before the job are left out."""
    now = {**installed.versions(then), "lqmf": VERSION, "python": platform.python_version(), **(built or {})}
    known = [name for name in then if name in now or not name.startswith("llama.cpp")]
    return [{"name": name, "then": then[name], "now": now.get(name)} for name in known if now.get(name) != then[name]]


def warnings(manifest: Manifest, plan: QuantizationPlan) -> list[str]:
    """Return sentences on versions, device and calibration texts that differ from those the artifact was made with, and
    may change the result."""
    told = [_version(one) for one in other_versions(manifest.versions)]
    if manifest.plan.get("device") != plan.device:
        told.append("It was made on a GPU, and there is none here: it is made on the CPU, and may differ.")
    text = (manifest.imatrix or manifest.calibration or {}).get("text_sha256")
    if plan.calibration is None and text and text != calibration_text.built_in().sha256:
        told.append("LQMF's calibration texts are others in this version: what was calibrated on them will differ.")
    return told


def _version(one: Mapping[str, str | None]) -> str:
    now = f"here is {one['now']}" if one["now"] else "it is not installed here"
    return f"It was made by {one['name']} {one['then']}; {now}."


# ---------------------------------------------------------------- the check


@dataclass(frozen=True)
class Rebuilt:
    """The result of a rebuild. `files` are [{"path", "same"}]; `divergence` is the KL from the original to the rebuilt
    artifact, or None with the reason in `why_none`; `artifact` is the artifact that was kept."""

    name: str
    job: str
    files: Sequence[Mapping[str, Any]]
    differences: Sequence[Difference]
    versions: Sequence[Mapping[str, str | None]]
    divergence: Mapping[str, Any] | None = None
    why_none: str | None = None
    artifact: Artifact | None = None

    @property
    def same(self) -> bool:
        return all(file["same"] for file in self.files)


class RebuildCheck:
    """The comparison of a rebuilt artifact with the original, before it is shown or deleted; `result` is set by the
    call."""

    def __init__(self, wanted: Original, run: RunTask, context: JobContext, *, keep: bool) -> None:
        self._wanted, self._run, self._context, self._keep = wanted, run, context, keep
        self.result: Rebuilt | None = None

    async def __call__(self, out: Path, built: Built) -> bool:
        """Compare the files in `out` with the original's, set `result`, and tell whether the rebuilt artifact is
        kept."""
        told, folder = self._wanted.hashes, self._wanted.folder
        made = await asyncio.to_thread(lambda: {name: workspace.sha256(out / name) for name in sorted(built.files)})
        files = [{"path": name, "same": told.get(name) == made.get(name)} for name in sorted(told.keys() | made.keys())]
        names = [str(file["path"]) for file in files if not file["same"]]
        found, divergence, why = [Difference(name, None, "has another SHA-256") for name in names], None, None
        if names and folder is not None:
            with contextlib.suppress(LqmfError):  # the original may be too damaged to be read tensor by tensor
                found = await asyncio.to_thread(differences.between, folder, out, names)
        if any(name.endswith(WEIGHTS) for name in names):
            divergence, why = await self._divergence(out)
        self.result = Rebuilt(
            self._wanted.name,
            self._context.job,
            files,
            found,
            other_versions(self._wanted.manifest.versions, built.versions),
            divergence,
            why,
        )
        return self._keep

    async def _divergence(self, out: Path) -> tuple[Mapping[str, Any] | None, str | None]:
        """(KL in nats a token from the original to the artifact in `out`, on the evaluation text; the reason where
        there is none)."""
        folder, context = self._wanted.folder, self._context
        if folder is None:
            return None, "the original is not here to run"
        params = {"artifact": str(out), "base": str(folder), "text": str(EVALUATION[MAIN]), "max_windows": WINDOWS}
        try:
            measured = await self._run(Task(context.job, "divergence", params, context.log), context.emit)
        except JobCancelled:
            raise
        except LqmfError as error:
            return None, error.message
        reasons = measured.get("reasons") or {}
        return measured["kl_divergence"], None if measured["kl_divergence"] else reasons.get("kl_divergence")
