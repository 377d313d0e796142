"""The ExecutorAgent: carries out a plan as one job: download, quantize in a worker, publish, test.

Knows the order of stages, what may be tried again, and what to clean up. Knows nothing of how a model is
fetched, quantized or measured: those are functions handed to it. Everything that happens goes out as events.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import platform
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lqmf import hardware, workspace
from lqmf.artifacts import manifest_schema, shelf
from lqmf.errors import (
    DiskFull,
    GpuOutOfMemory,
    JobCancelled,
    JobError,
    LqmfError,
    MeasurementError,
    OutOfMemory,
    WorkerDied,
    of_system,
)
from lqmf.events import AttemptFailed, Bus, Emit, JobFinished, JobStarted, Notice, StageFinished, StageStarted
from lqmf.jobs.runner import Runner
from lqmf.quality.measures import unmeasured
from lqmf.quantization.promise import Built, Source
from lqmf.records import (
    Artifact,
    Base,
    FileEntry,
    Job,
    Manifest,
    Measurement,
    ModelInfo,
    QuantizationPlan,
    Receipt,
    Status,
    Task,
    from_json,
    to_json,
)
from lqmf.retry import RetryPolicy
from lqmf.store.jobs import command
from lqmf.units import file_size, memory_size
from lqmf.version import VERSION
from lqmf.workspace import Workspace

LONGEST_WAIT_SECONDS = 60.0
MANIFEST_VERSION = manifest_schema.VERSION
TRY_AGAIN = (WorkerDied, DiskFull)  # errors after which another try, made as told, may succeed

T = TypeVar("T")

Fetch = Callable[[ModelInfo, Emit, str], Awaitable[Path]]
Accept = Callable[[Path, Built], Awaitable[bool]]  # handed what was made before anybody sees it: whether it is kept


@dataclass(frozen=True)
class PartialDownload:
    """The functions for work that begins before all files are there: `skeleton` gives a model's folder with only the
    headers of its weights, `folders` says where the weights appear, `passing` fetches file after file for a reader that
    removes each when done (see `Source.consumed_dir`), which takes `passing_bytes` of disk; `forget` removes the files
    that `passing` left."""

    skeleton: Callable[[ModelInfo], Awaitable[Path]]
    folders: Callable[[ModelInfo], tuple[Path, ...]]
    passing: Callable[[ModelInfo, Path, Emit, str], Awaitable[Path]]
    passing_bytes: Callable[[ModelInfo, Path], int]
    forget: Callable[[ModelInfo], None]


@dataclass(frozen=True)
class Work:
    """One job to carry out. `name` is the artifact's wanted name; `folder` holds intermediate files, for this job and
    those of `later_plans`; `replan` gives the CPU's plan for a GPU's. With `accept` the job is a rebuild: every file is
    made afresh, and the artifact becomes visible only if `accept` says so."""

    job: str
    plan: QuantizationPlan
    info: ModelInfo
    name: str
    folder: Path
    test: Callable[[Measurement, Emit], Awaitable[Receipt]]
    published: Callable[[Artifact, Manifest], None]
    replan: Callable[[QuantizationPlan, str], QuantizationPlan]
    missing: Callable[[ModelInfo], int]  # bytes still to download
    streams: bool = False  # whether the plan's backend begins before all weights are there
    later_plans: tuple[QuantizationPlan, ...] = ()
    first_attempt: int = 1
    accept: Accept | None = None  # of a rebuild
    original: str | None = None  # of a rebuild: the artifact that is made again, as its command names it

    @property
    def record(self) -> Job:
        """Return the job as it is recorded at its start."""
        return Job(
            id=self.job,
            kind=self.kind,
            title=self.title,
            status="running",
            plan=to_json(self.plan),
            later_plans=tuple(to_json(self.later_plans)),
            attempts=self.first_attempt,
            started_at=time.time(),
            artifact=self.original,
        )

    @property
    def again(self) -> str:
        """Return the sentence that says what to type for another try."""
        return f"`lqmf {command(to_json(self.record))}` {'starts anew' if self.accept else 'goes on with it'}."

    @property
    def kind(self) -> str:
        """Return the job's kind in the records: "rebuild" or "quantize"."""
        return "rebuild" if self.accept else "quantize"

    @property
    def title(self) -> str:
        return f"{self.plan.model.id} as {self.plan.type or self.plan.method}"


@dataclass(frozen=True)
class _Made:
    """A published artifact, the base that it is compared with, and the measurements from making it."""

    artifact: Artifact
    manifest: Manifest
    base: Base
    making: Mapping[str, float]


@dataclass
class _Stage:
    """Whether a stage that ended without an error brought what it was to bring."""

    ok: bool = True


@dataclass
class _Count:
    """The number of the attempt that runs, across retries and the fall-back to the CPU."""

    attempt: int


class ExecutorAgent:
    """Carries out work in `place`, running tasks by `runner` and telling of it on `bus`."""

    def __init__(
        self,
        place: Workspace,
        bus: Bus,
        runner: Runner,
        fetch: Fetch,
        card: Callable[[Artifact, Manifest, Mapping[str, Any]], str],
        *,
        modelfile: Callable[[Path, Manifest], str | None] = lambda folder, manifest: None,
        partial: PartialDownload | None = None,
        max_retries: int,
        save_plans: bool = True,
    ) -> None:
        self._place = place
        self._bus = bus
        self._runner = runner
        self._fetch = fetch
        self._card = card
        self._modelfile = modelfile
        self._partial = partial
        self._max_retries = max_retries
        self._save_plans = save_plans

    async def execute(self, work: Work) -> Artifact | None:
        """Carry out the job and return its artifact; None where it was not accepted. Raises LqmfError; a cancelled job
        leaves only files that it can be resumed from."""
        with self.recorded(work.job, work.again) as result:

            def published(artifact: Artifact, manifest: Manifest) -> None:
                result["artifact"] = artifact.name
                work.published(artifact, manifest)

            async def test(what: Measurement, emit: Emit) -> Receipt:
                receipt = await work.test(what, emit)
                result["fault"] = unmeasured(to_json(receipt))
                return receipt

            try:
                return await self._with_cpu_fallback(dataclasses.replace(work, published=published, test=test))
            except asyncio.CancelledError:
                if name := result.get("artifact"):
                    text = f"{name} is made, but not measured: `test {name}` does that."
                    self._bus.publish(Notice(job=work.job, text=text))
                raise

    @contextlib.contextmanager
    def recorded(self, job: str, again: str) -> Iterator[dict[str, Any]]:
        """Publish JobFinished whatever way the block ends; yield the result that it carries, and which may be given a
        "fault": why the job did not succeed, though it raised nothing. `again` says what to type for another try."""
        started = time.monotonic()
        result: dict[str, Any] = {}

        def finish(status: Status, error: LqmfError | None = None) -> None:
            seconds = time.monotonic() - started
            told = error.to_json() if error else None
            self._bus.publish(JobFinished(job=job, status=status, seconds=seconds, result=result, error=told))

        try:
            yield result
        except asyncio.CancelledError:
            finish("cancelled", JobCancelled("The job was cancelled.", again))
            raise
        except LqmfError as error:
            if isinstance(error, TRY_AGAIN):
                error.remedy = f"{error.remedy} {again}".strip()
            finish("failed", error)
            raise
        except OSError as error:
            told = of_system(error)
            told.remedy = f"{told.remedy} {again}"
            finish("failed", told)
            raise told from error
        except BaseException as error:
            finish("failed", LqmfError(f"LQMF made a mistake: {type(error).__name__}: {error}", again))
            raise
        if why := result.pop("fault", None):
            made = f"{result['artifact']} was not measured" if result.get("artifact") else "It was not measured"
            finish("failed", MeasurementError(f"{made}: {why}", again))
        else:
            finish("done")

    # ------------------------------------------------------------ attempts

    async def _with_cpu_fallback(self, work: Work) -> Artifact | None:
        count = _Count(work.first_attempt - 1)
        try:
            return await self._with_retries(work, count)
        except GpuOutOfMemory as error:
            if not work.plan.cpu_fallback or work.plan.device == "cpu":
                raise
            self._failed(work.job, count.attempt, error, 0.0)
            plan = work.replan(work.plan, "the GPU ran out of memory in the attempt before")
            return await self._with_retries(dataclasses.replace(work, plan=plan), count)

    async def _with_retries(self, work: Work, count: _Count) -> Artifact | None:
        async def attempt() -> Artifact | None:
            count.attempt += 1
            return await self._attempt(work, count)

        policy = RetryPolicy(self._max_retries, max_seconds=LONGEST_WAIT_SECONDS)
        return await policy.run(
            attempt, on_retry=lambda error, seconds: self._failed(work.job, count.attempt, error, seconds)
        )

    def _failed(self, job: str, attempt: int, error: LqmfError, wait_seconds: float) -> None:
        told = error.to_json()
        self._bus.publish(AttemptFailed(job=job, attempt=attempt, error=told, retry_in_seconds=wait_seconds))

    async def _attempt(self, work: Work, count: _Count) -> Artifact | None:
        started = time.monotonic()
        self._started(work, count)
        self.check_room(work)
        made = await self._fetch_and_make(work)
        if made is None:
            return None
        await self._measure(work, count, self._kept(work.plan, made), time.monotonic() - started)
        return made.artifact

    def _started(self, work: Work, count: _Count) -> None:
        self._bus.publish(JobStarted(job=work.job, kind=work.kind, title=work.title, attempt=count.attempt))

    # ------------------------------------------------------------ stages

    async def _fetch_and_make(self, work: Work) -> _Made | None:
        """Return the published artifact; None if `work.accept` refused it. Its `making` is empty where download and
        quantizing overlapped."""
        out = workspace.building(self._place.artifacts, work.job)
        try:
            if self._partial and work.streams and work.missing(work.info):
                folder, built = await self._as_it_arrives(work, self._partial, out)
                making: dict[str, float] = {}
                source = None if _consumed(work) else folder
            else:
                folder = source = await self._fetched(work, self._fetch(work.info, self._bus.publish, work.job))
                since = time.monotonic()
                built = await self._make(work, Source(folder), out)
                making = {"quantize_seconds": time.monotonic() - since}
            made = None
            if not work.accept or await work.accept(out, built):
                async with self._stage(work.job, "publish"):
                    published = asyncio.to_thread(self._publish, work, built, folder, out)
                    made = _Made(*await _to_its_end(published), _base(work, built, source), making)
            if self._partial and work.plan.discard_source:
                self._partial.forget(work.info)
        finally:
            shutil.rmtree(out, ignore_errors=True)
        return made

    async def _as_it_arrives(self, work: Work, partial: PartialDownload, out: Path) -> tuple[Path, Built]:
        """Download and quantize at the same time; return the folder and the build. The first failure ends the other
        task, and is raised."""
        emit, consumed = self._bus.publish, _consumed(work)
        source = Source(await partial.skeleton(work.info), partial.folders(work.info), consumed)
        try:
            async with asyncio.TaskGroup() as group:
                made = group.create_task(self._make(work, source, out))
                if consumed:
                    fetch = partial.passing(work.info, consumed, emit, work.job)
                else:
                    fetch = self._fetch(work.info, emit, work.job)
                fetched = group.create_task(self._fetched(work, fetch))
                if consumed:  # what is made needs no file any more
                    made.add_done_callback(lambda _made: fetched.cancel())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return source.folder if consumed else fetched.result(), made.result()

    async def _fetched(self, work: Work, fetching: Awaitable[Path]) -> Path:
        if not work.missing(work.info):  # it is here: a folder, or a model that was fetched before
            return await fetching
        async with self._stage(work.job, "download"):
            return await fetching

    async def _make(self, work: Work, source: Source, out: Path) -> Built:
        params = {
            "plan": to_json(work.plan),
            "later_plans": to_json(work.later_plans),
            "source": str(source.folder),
            "weights": [str(folder) for folder in source.weights],
            "consumed_dir": str(source.consumed_dir) if source.consumed_dir else None,
            "out": str(out),
            "work": str(work.folder),
            "afresh": work.accept is not None,
        }
        result = await self._runner.run(Task(work.job, "quantize", params, self.log(work.job)), self._bus.publish)
        return from_json(Built, result)

    def _publish(self, work: Work, built: Built, source: Path, out: Path) -> tuple[Artifact, Manifest]:
        """Write manifest, receipt and card, then make the folder visible. Raises JobError when weights are missing."""
        if absent := [name for name in built.files if not (out / name).is_file()]:
            raise JobError(f"The quantization left no {', '.join(absent)}.")
        waiting = to_json(Receipt(reasons={"*": "not measured yet"}))
        workspace.write_json(out / workspace.RECEIPT, waiting)
        draft = self._with_modelfile(self._manifest(work, built, source, out), out)
        finished: dict[str, Manifest] = {}

        def stamp(name: str) -> None:
            named = dataclasses.replace(draft, name=name)
            card = self._card(shelf.describe(out.with_name(name), named), named, waiting)
            workspace.write_text(out / workspace.CARD, card)
            finished["manifest"] = dataclasses.replace(named, files=(*draft.files, *_entries(out, workspace.CARD)))
            workspace.write_json(out / workspace.MANIFEST, to_json(finished["manifest"]))

        path = workspace.publish(out, workspace.safe_name(work.name), stamp)
        artifact = shelf.describe(path, finished["manifest"])
        if self._save_plans:
            workspace.write_json(self._place.configs / f"{path.name}.json", to_json(work.plan))
        work.published(artifact, finished["manifest"])
        return artifact, finished["manifest"]

    def _with_modelfile(self, draft: Manifest, out: Path) -> Manifest:
        """Return the manifest; where Ollama can run the artifact, with a Modelfile that is written beside it."""
        try:
            text = self._modelfile(out, draft)
        except LqmfError as error:  # the artifact is as good without
            self._bus.publish(Notice(text=f"There is no Modelfile for Ollama: {error.message}", level="warning"))
            return draft
        if text is None:
            return draft
        workspace.write_text(out / workspace.MODELFILE, text)
        return dataclasses.replace(draft, files=(*draft.files, *_entries(out, workspace.MODELFILE)))

    def _manifest(self, work: Work, built: Built, source: Path, out: Path) -> Manifest:
        return Manifest(
            format_version=MANIFEST_VERSION,
            name="",
            model=work.info.ref,
            commit=work.info.commit,
            source_sha256={f.path: f.sha256 or workspace.sha256(source / f.path) for f in work.info.files},
            plan=to_json(work.plan),
            files=_entries(out),
            versions={"lqmf": VERSION, "python": platform.python_version(), **built.versions},
            created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            source_size_bytes=work.info.weights_bytes,
            license=work.info.license,
            languages=work.info.languages,
            model_type=work.info.model_type,
            run={"device": work.plan.device, **(to_json(work.plan.run) if work.plan.run else {})},
            imatrix=built.imatrix,
            calibration=built.calibration,
            tensors=built.tensors,
            adapter=built.adapter,
            hardware=hardware.described(),
        )

    async def _measure(self, work: Work, count: _Count, made: _Made, job_seconds: float) -> None:
        """Test a published artifact; its receipt and card are rewritten. Raises LqmfError; the artifact stays."""
        plan = work.plan
        if plan.test == "none":
            return
        what = Measurement(
            work.job,
            self.log(work.job),
            made.artifact,
            made.base,
            plan.test,
            made.manifest,
            plan.device,
            job_seconds,
            plan.prediction,
            made.making,
            work.info.architecture,
        )
        async with self._stage(work.job, "test") as stage:
            try:
                receipt = await work.test(what, self._bus.publish)
            except GpuOutOfMemory as error:
                if not plan.cpu_fallback:
                    raise
                self._failed(work.job, count.attempt, error, 0.0)
                count.attempt += 1
                self._started(work, count)
                receipt = await work.test(dataclasses.replace(what, device="cpu"), self._bus.publish)
            stage.ok = unmeasured(to_json(receipt)) is None

    def _kept(self, plan: QuantizationPlan, made: _Made) -> _Made:
        """Return `made` with the 16-bit file where it lies from now on: with the models when the plan keeps it, else
        unchanged."""
        path = made.base.path
        if path is None or not plan.keep_16bit:
            return made
        name = f"{workspace.safe_name(plan.model.id)}-{plan.commit or 'local'}{path.suffix}"
        target = self._place.models / "16bit" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        workspace.take(path, target)
        self._bus.publish(Notice(text=f"The 16-bit file is kept: {target}"))
        return dataclasses.replace(made, base=dataclasses.replace(made.base, path=target))

    # ------------------------------------------------------------ room, logs

    def check_room(self, work: Work) -> None:
        """Raise DiskFull or OutOfMemory when the rest of the work does not fit the disk or the memory that is free
        now."""
        import psutil

        if work.plan.estimate is None:
            return
        consumed = _consumed(work)
        arriving = self._partial.passing_bytes(work.info, consumed) if self._partial and consumed else None
        estimate = work.plan.estimate.with_download(work.missing(work.info), arriving)
        self._place.artifacts.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._place.artifacts).free
        if estimate.disk_peak_bytes > free:
            raise DiskFull(
                f"This needs {file_size(estimate.disk_peak_bytes)} of disk on the way, and "
                f"{file_size(free)} are free in {self._place.artifacts}.",
                "`lqmf disk` shows what can be removed.",
            )
        available = psutil.virtual_memory().available
        if estimate.ram_peak_bytes > available:
            raise OutOfMemory(
                f"This needs {memory_size(estimate.ram_peak_bytes)} of memory, and {memory_size(available)} are free.",
                "Close other programs, or take a smaller model.",
            )

    def log(self, job: str) -> str:
        """Return the path of the log that a job's libraries write to."""
        return str(self._place.logs / f"{job}.log")

    @contextlib.asynccontextmanager
    async def _stage(self, job: str, stage: str) -> AsyncIterator[_Stage]:
        """Publish that a stage starts, and in the end whether it succeeded: not after an error, nor where `ok` was set
        to False."""
        started, inner = time.monotonic(), _Stage()
        self._bus.publish(StageStarted(job=job, stage=stage))
        ended = False
        try:
            yield inner
            ended = True
        finally:
            seconds = time.monotonic() - started
            self._bus.publish(StageFinished(job=job, stage=stage, seconds=seconds, ok=ended and inner.ok))


def _consumed(work: Work) -> Path | None:
    """Return the folder where weight files that are not to stay are marked as used; None where all stay."""
    return work.folder / "used" if work.plan.discard_source else None


def _base(work: Work, built: Built, source: Path | None) -> Base:
    """Return the base of an artifact that was just made from the files in `source`."""
    path = Path(built.base) if built.base else None
    return Base(path, None if path else "its source was not kept to compare with", source, work.info.ref.id)


def _entries(folder: Path, *names: str) -> tuple[FileEntry, ...]:
    return tuple(from_json(FileEntry, entry) for entry in workspace.file_entries(folder, names or None))


async def _to_its_end(work: Awaitable[T]) -> T:
    """Finish work that has begun to become visible, even when the job is cancelled meanwhile; return its result."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
