"""Provides the base to measure an artifact against: its own source, or the model that the user names for it.

Finds the source's files on this machine, has a named model fetched, and has a GGUF of it made where the artifact is a
GGUF. Knows models, manifests and workers' tasks; measures nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lqmf import hardware, workspace
from lqmf.declared import methods
from lqmf.errors import UsageError
from lqmf.jobs.journal import work_folder
from lqmf.model_files.gguf_files import is_gguf
from lqmf.model_files.gguf_header import read_header
from lqmf.quality.receipt.exact_types import is_exact
from lqmf.records import Artifact, Base, Manifest, ModelInfo, ModelRef, QuantizationPlan, Task, from_json, to_json
from lqmf.units import memory_size
from lqmf.workspace import Workspace

if TYPE_CHECKING:
    from lqmf.hub.models import Models
    from lqmf.jobs.runner import JobContext, RunTask
    from lqmf.understanding.answers import Ask

RAM_SHARE = 0.8  # of the free RAM that the source may take beside the artifact
_Q8_0 = 34 / 64  # of the size in 16 bits: 32 weights and a half float in 34 bytes


@dataclass(frozen=True)
class Given:
    """The base that the user named: a model, or a GGUF file with a model's weights in 16 bits."""

    name: str
    info: ModelInfo | None = None
    file: Path | None = None


class Sources:
    """The bases of a workspace, found and made. `inspect` fetches a model's metadata, `run` carries out a worker's
    task."""

    def __init__(
        self,
        place: Workspace,
        models: Models,
        inspect: Callable[[ModelRef, Ask], Awaitable[ModelInfo]],
        run: RunTask,
    ) -> None:
        self._place = place
        self._models = models
        self._inspect = inspect
        self._run = run

    async def named(self, said: str, ask: Ask) -> Given:
        """Return the base that `said` means: a GGUF file by its path, or a model as it is named anywhere. Fetches no
        weights. Raises UsageError for a GGUF that is quantized itself, and the errors of looking a model up."""
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

    @contextlib.asynccontextmanager
    async def base(
        self, context: JobContext, artifact: Artifact, manifest: Manifest | None, given: Given | None = None
    ) -> AsyncIterator[Base]:
        """Yield the base to compare `artifact` with: the base `given`, else its own source. Its files are deleted when
        the context is closed."""
        with contextlib.ExitStack() as stack:
            if given is not None:
                yield await self._given(context, artifact, given, stack)
            elif manifest is not None:
                yield await self._own(context, manifest, stack)
            else:
                yield Base(reason="its source is not known, as LQMF did not make it: `--base MODEL` names it")

    async def _given(self, context: JobContext, artifact: Artifact, given: Given, stack: contextlib.ExitStack) -> Base:
        if given.file is not None:
            if artifact.method != "gguf":
                raise UsageError(
                    f"{artifact.name} is no GGUF: {given.name} cannot be run beside it.",
                    "Name the model's folder or its Hub id as the base.",
                )
            return Base(given.file, name=given.name, said=True)
        assert given.info is not None
        folder = await self._models.fetch(given.info, context.emit, context.job)
        plan, reason = _plan(given.info, artifact.method)
        found = Base(None, reason, folder, given.name, said=True)
        if plan is None:
            return found
        path = await self._made(context, plan, folder, stack)
        return dataclasses.replace(found, path=path, reason=None)

    async def _own(self, context: JobContext, manifest: Manifest, stack: contextlib.ExitStack) -> Base:
        source, name = self._models.stored(manifest.model, manifest.commit), manifest.model.id
        if source is None:
            return Base(reason=f"its source, {name}, is not on this machine", name=name)
        if changed := await asyncio.to_thread(_changed, manifest, source):
            return Base(reason=f"its source has changed since: {changed} is another file now", name=name)
        # What a manifest says is no permission: a model's own Python is not run to measure an artifact.
        plan = from_json(QuantizationPlan, {**manifest.plan, "allow_remote_code": False})
        plan = dataclasses.replace(plan, model=manifest.model, commit=manifest.commit)
        return Base(await self._made(context, plan, source, stack), None, source, name)

    async def _made(
        self, context: JobContext, plan: QuantizationPlan, source: Path, stack: contextlib.ExitStack
    ) -> Path:
        """Return the source as the artifact's engine can run it: a GGUF made in the model's work folder, which lasts as
        long as `stack` is open, or its own folder."""
        folder = stack.enter_context(work_folder(self._place, plan.model, plan.commit))
        params = {"plan": to_json(plan), "source": str(source), "work": str(folder)}
        result = await self._run(Task(context.job, "convert", params, context.log), context.emit)
        return Path(result["base"])


def _plan(info: ModelInfo, method: str) -> tuple[QuantizationPlan | None, str | None]:
    """(The plan for making a named base that can be run, None); (None, the reason) where memory has no room for it."""
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
    """The first file of a local source that differs from the manifest's hash; a commit of the Hub does not change."""
    if manifest.model.kind == "hub":
        return None
    known = manifest.source_sha256.items()
    return next((name for name, told in known if not _is(source / name, told)), None)


def _is(file: Path, sha256: str) -> bool:
    return file.is_file() and workspace.sha256(file) == sha256
