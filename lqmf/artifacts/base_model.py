"""What an artifact is measured against: its own source, or the base that the user names for it.

Finds the source's files on this machine, has a named one fetched, and has a GGUF of it made where the artifact is one.
Knows models, manifests and workers' tasks; measures nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import hardware, workspace
from lqmf.artifacts import shelf
from lqmf.declared import methods
from lqmf.errors import UsageError
from lqmf.events import Emit
from lqmf.model_files.gguf_files import is_gguf
from lqmf.model_files.gguf_header import read_header
from lqmf.quality.receipt.exact_types import is_exact
from lqmf.records import Against, Artifact, Manifest, ModelInfo, ModelRef, QuantizationPlan, Task, from_json, to_json
from lqmf.units import memory_size

if TYPE_CHECKING:
    from lqmf.hub.models import Models
    from lqmf.understanding.answers import Ask

RAM_SHARE = 0.8  # of the free RAM that the source may take beside the artifact
_Q8_0 = 34 / 64  # of the size in 16 bits: 32 weights and a half float in 34 bytes
WorkFolder = Callable[[ModelRef, str | None], AbstractContextManager[Path]]
Enter = Callable[[AbstractContextManager[Path]], Path]


@dataclass(frozen=True)
class Given:
    """The base that the user named: a model, or a GGUF file of one in 16 bits."""

    name: str
    info: ModelInfo | None = None
    file: Path | None = None


class Sources:
    """Of one workspace. `inspect` fetches a model's metadata, `run` carries out a worker's task, `work_folder` gives a
    model's folder for what is made."""

    def __init__(
        self,
        models: Models,
        inspect: Callable[[ModelRef, Ask], Awaitable[ModelInfo]],
        run: Callable[[Task, Emit], Awaitable[dict[str, Any]]],
        emit: Emit,
        work_folder: WorkFolder,
    ) -> None:
        self._models = models
        self._inspect = inspect
        self._run = run
        self._emit = emit
        self._work_folder = work_folder

    async def named(self, said: str, ask: Ask) -> Given:
        """What `said` means: a GGUF file by its path, or a model as it is named anywhere. Fetches no weights. Raises
        UsageError for a file that is quantized itself, and what looking a model up raises."""
        path = Path(said).expanduser()
        if said.startswith(("./", "../", "/", "~")) and path.is_file() and is_gguf(path):
            kind = read_header(path).type
            if not is_exact(kind):
                raise UsageError(
                    f"{path.name} is {kind}: what it lost itself would be taken for the truth.",
                    "Name the model in 16 bits: a folder, a Hub id, or an F16 or BF16 GGUF.",
                )
            return Given(path.name, file=path)
        info = await self._inspect(self._models.resolve(said), ask)
        commit = f"@{info.commit}" if info.commit and info.ref.kind == "hub" else ""
        return Given(f"{info.ref.id}{commit}", info=info)

    async def against(self, job: str, log: str, artifact: Artifact, given: Given | None, enter: Enter) -> Against:
        """What `artifact` is held against; what is made for it lies there as long as what `enter` takes is open."""

        if given is None:
            return await self._own(job, log, artifact, enter)
        if given.file is not None:
            if artifact.method != "gguf":
                raise UsageError(
                    f"{artifact.name} is no GGUF: {given.name} cannot be run beside it.",
                    "Name the model's folder or its Hub id as the base.",
                )
            return Against(given.file, name=given.name, said=True)
        assert given.info is not None
        folder = await self._models.fetch(given.info, self._emit, job)
        plan, reason = _plan(given.info, artifact.method)
        found = Against(None, reason, folder, given.name, said=True)
        if plan is None:
            return found
        base = await self._made(job, log, plan, folder, enter)
        return dataclasses.replace(found, base=base, reason=None)

    async def _own(self, job: str, log: str, artifact: Artifact, enter: Enter) -> Against:

        if artifact.foreign:
            why = "its source is not known, as LQMF did not make it: `--base MODEL` names it"
            return Against(reason=why)
        manifest = shelf.manifest(Path(artifact.path))
        source, name = self._models.stored(manifest.model, manifest.commit), manifest.model.id
        if source is None:
            return Against(reason=f"its source, {name}, is not on this machine", name=name)
        if changed := await asyncio.to_thread(_changed, manifest, source):
            return Against(reason=f"its source has changed since: {changed} is another file now", name=name)
        # What a manifest says is no permission: a model's own Python is not run to measure an artifact.
        plan = from_json(QuantizationPlan, {**manifest.plan, "allow_remote_code": False})
        plan = dataclasses.replace(plan, model=manifest.model, commit=manifest.commit)
        return Against(await self._made(job, log, plan, source, enter), None, source, name)

    async def _made(self, job: str, log: str, plan: QuantizationPlan, source: Path, enter: Enter) -> Path:
        """The source as the artifact's engine can run it: a GGUF made in the model's work folder, or its own folder."""
        folder = enter(self._work_folder(plan.model, plan.commit))
        params = {"plan": to_json(plan), "source": str(source), "work": str(folder)}
        result = await self._run(Task(job, "convert", params, log), self._emit)
        return Path(result["base"])


def _plan(info: ModelInfo, method: str) -> tuple[QuantizationPlan | None, str | None]:
    """A plan that says what to make of a named base to run it; None where there is no room for it, with the reason."""
    form = methods.of(method).format
    plan = QuantizationPlan("base", info.ref, info.commit, method, 16, "", form, "cpu")
    if form != "gguf":
        return plan, None
    wide = 2 * info.parameters if info.parameters else info.weights_bytes
    room = int(hardware.detect().ram_available_bytes * RAM_SHARE)
    if wide <= room:
        return dataclasses.replace(plan, base="F16"), None
    if wide * _Q8_0 <= room:
        return dataclasses.replace(plan, base="Q8_0"), None
    return None, f"not measured: needs {memory_size(wide * _Q8_0)} of memory, has {memory_size(room)}"


def _changed(manifest: Manifest, source: Path) -> str | None:
    """The first file of a local source that is not what the manifest says; a commit of the Hub does not change."""
    if manifest.model.kind == "hub":
        return None
    known = manifest.source_sha256.items()
    return next((name for name, told in known if not _is(source / name, told)), None)


def _is(file: Path, sha256: str) -> bool:
    return file.is_file() and workspace.sha256(file) == sha256
