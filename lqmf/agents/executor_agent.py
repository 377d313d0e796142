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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lqmf import hardware, workspace
from lqmf.artifacts import manifest_schema, shelf
from lqmf.errors import DiskFull, GpuOutOfMemory, JobCancelled, JobError, LqmfError, OutOfMemory, RateLimited, of_system
from lqmf.events import AttemptFailed, Bus, Emit, JobFinished, JobStarted, Notice, StageFinished, StageStarted
from lqmf.jobs.runner import Runner
from lqmf.quantization.promise import Built, Source
from lqmf.records import (
    Artifact,
    FileEntry,
    Manifest,
    ModelInfo,
    QuantizationPlan,
    Receipt,
    Status,
    Task,
    from_json,
    to_json,
)
from lqmf.units import file_size, memory_size
from lqmf.version import VERSION
from lqmf.workspace import Workspace

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, PATIENCE_SECONDS = 1.0, 60.0, 300.0
MANIFEST_VERSION = manifest_schema.VERSION

Fetch = Callable[[ModelInfo, Emit, str], Awaitable[Path]]
Judge = Callable[[Path, Built], Awaitable[bool]]  # handed what was made before anybody sees it: whether it is kept


@dataclass(frozen=True)
class Arrivals:
    """How work begins before all files are there: `skeleton` gives a model's folder with its weights' headers alone,
    `folders` says where the weights appear, `passing` fetches file after file for a reader that removes each when done
    (see `Source.used`), which takes `passing_bytes` of disk; `forget` removes what passing left."""

    skeleton: Callable[[ModelInfo], Awaitable[Path]]
    folders: Callable[[ModelInfo], tuple[Path, ...]]
    passing: Callable[[ModelInfo, Path, Emit, str], Awaitable[Path]]
    passing_bytes: Callable[[ModelInfo, Path], int]
    forget: Callable[[ModelInfo], None]


@dataclass(frozen=True)
class ToTest:
    """What a test needs to know. `base` is what its engine can run of the source (a GGUF of it, or its folder), or None
    with the reason why not; `source` the model's own folder and `base_name` what it is called, where these are not the
    manifest's; `said`: the user named it."""

    job: str
    log: str
    artifact: Artifact
    base: Path | None
    base_reason: str | None
    depth: str
    job_seconds: float
    device: str = "auto"
    predicted: Mapping[str, float] = field(default_factory=dict)  # by the plan, of this artifact on this machine
    making: Mapping[str, float] = field(default_factory=dict)  # what was measured when it was made
    architecture: str | None = None
    source: Path | None = None
    base_name: str = ""
    said: bool = False


@dataclass(frozen=True)
class Work:
    """One job to carry out. `name` is the artifact's wanted name; `folder` holds what is made on the way, for this job
    and those of `ahead` that follow it; `replan` gives the CPU's plan for a GPU's. With a `judge` it is a rebuild:
    everything is made afresh, and shown only if the judge says so."""

    job: str
    plan: QuantizationPlan
    info: ModelInfo
    name: str
    folder: Path
    test: Callable[[ToTest, Emit], Awaitable[Receipt]]
    published: Callable[[Artifact, Manifest], None]
    replan: Callable[[QuantizationPlan, str], QuantizationPlan]
    missing: Callable[[ModelInfo], int]  # bytes still to download
    streams: bool = False  # whether the plan's backend begins before all weights are there
    ahead: tuple[QuantizationPlan, ...] = ()
    first_attempt: int = 1
    judge: Judge | None = None  # of a rebuild

    @property
    def kind(self) -> str:
        """What the job is called in the records."""
        return "rebuild" if self.judge else "quantize"

    @property
    def title(self) -> str:
        return f"{self.plan.model.id} as {self.plan.type or self.plan.method}"


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
        arrivals: Arrivals | None = None,
        max_retries: int,
        save_plans: bool = True,
    ) -> None:
        self._place = place
        self._bus = bus
        self._runner = runner
        self._fetch = fetch
        self._card = card
        self._modelfile = modelfile
        self._arrivals = arrivals
        self._max_retries = max_retries
        self._save_plans = save_plans

    async def execute(self, work: Work) -> Artifact | None:
        """Do the job and return its artifact; None where a judge let it go. Raises LqmfError; a cancelled job leaves
        only what can be resumed."""
        with self.recorded(work.job) as result:

            def published(artifact: Artifact, manifest: Manifest) -> None:
                result["artifact"] = artifact.name
                work.published(artifact, manifest)

            try:
                return await self._with_cpu_fallback(dataclasses.replace(work, published=published))
            except asyncio.CancelledError:
                if name := result.get("artifact"):
                    text = f"{name} is made, but not measured: `test {name}` does that."
                    self._bus.publish(Notice(job=work.job, text=text))
                raise

    @contextlib.contextmanager
    def recorded(self, job: str) -> Iterator[dict[str, Any]]:
        """Whatever way the block ends, JobFinished says so."""
        started = time.monotonic()
        result: dict[str, Any] = {}

        def finish(status: Status, error: LqmfError | None = None) -> None:
            seconds = time.monotonic() - started
            told = error.to_json() if error else None
            self._bus.publish(JobFinished(job=job, status=status, seconds=seconds, result=result, error=told))

        try:
            yield result
        except asyncio.CancelledError:
            finish("cancelled", JobCancelled("The job was cancelled.", "`lqmf resume` goes on with it."))
            raise
        except LqmfError as error:
            finish("failed", error)
            raise
        except OSError as error:
            told = of_system(error)
            finish("failed", told)
            raise told from error
        except BaseException as error:
            finish("failed", LqmfError(f"LQMF made a mistake: {type(error).__name__}: {error}", "`lqmf resume`"))
            raise
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
        from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

        def tell(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, LqmfError):
                self._failed(work.job, count.attempt, error, state.upcoming_sleep)

        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_may_heal),
            stop=stop_after_attempt(self._max_retries + 1),
            wait=_waiting_time,
            before_sleep=tell,
            reraise=True,
        ):
            with attempt:
                count.attempt += 1
                return await self._attempt(work, count)
        raise AssertionError("an attempt returns or raises")

    def _failed(self, job: str, attempt: int, error: LqmfError, wait_seconds: float) -> None:
        told = error.to_json()
        self._bus.publish(AttemptFailed(job=job, attempt=attempt, error=told, retry_in_seconds=wait_seconds))

    async def _attempt(self, work: Work, count: _Count) -> Artifact | None:
        started = time.monotonic()
        self._started(work, count)
        self.check_room(work)
        artifact, base, making = await self._fetch_and_make(work)
        if artifact is None:
            return None
        base = self._keep(work.plan, base)
        await self._measure(work, count, artifact, base, time.monotonic() - started, making)
        return artifact

    def _started(self, work: Work, count: _Count) -> None:
        self._bus.publish(JobStarted(job=work.job, kind=work.kind, title=work.title, attempt=count.attempt))

    # ------------------------------------------------------------ stages

    async def _fetch_and_make(self, work: Work) -> tuple[Artifact | None, Path | None, Mapping[str, float]]:
        """The artifact (None: let go), what to measure it against, and how long making took where that was all."""
        out = workspace.building(self._place.artifacts, work.job)
        try:
            if self._arrivals and work.streams and work.missing(work.info):
                folder, built = await self._as_it_arrives(work, self._arrivals, out)
                making: dict[str, float] = {}
            else:
                folder = await self._fetched(work, self._fetch(work.info, self._bus.publish, work.job))
                since = time.monotonic()
                built = await self._make(work, Source(folder), out)
                making = {"quantize_seconds": time.monotonic() - since}
            artifact = None
            if not work.judge or await work.judge(out, built):
                async with self._stage(work.job, "publish"):
                    artifact = await _to_its_end(asyncio.to_thread(self._publish, work, built, folder, out))
            if self._arrivals and work.plan.discard_source:
                self._arrivals.forget(work.info)
        finally:
            shutil.rmtree(out, ignore_errors=True)
        return artifact, Path(built.base) if built.base and artifact else None, making

    async def _as_it_arrives(self, work: Work, arrivals: Arrivals, out: Path) -> tuple[Path, Built]:
        """Fetch and make at once. What fails first ends the other, and is raised."""
        emit, used = self._bus.publish, _used(work)
        source = Source(await arrivals.skeleton(work.info), arrivals.folders(work.info), used)
        try:
            async with asyncio.TaskGroup() as group:
                made = group.create_task(self._make(work, source, out))
                if used:
                    fetch = arrivals.passing(work.info, used, emit, work.job)
                else:
                    fetch = self._fetch(work.info, emit, work.job)
                fetched = group.create_task(self._fetched(work, fetch))
                if used:  # what is made needs no file any more
                    made.add_done_callback(lambda _made: fetched.cancel())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return source.folder if used else fetched.result(), made.result()

    async def _fetched(self, work: Work, fetching: Awaitable[Path]) -> Path:
        async with self._stage(work.job, "download"):
            return await fetching

    async def _make(self, work: Work, source: Source, out: Path) -> Built:
        params = {
            "plan": to_json(work.plan),
            "ahead": to_json(work.ahead),
            "source": str(source.folder),
            "weights": [str(folder) for folder in source.weights],
            "used": str(source.used) if source.used else None,
            "out": str(out),
            "work": str(work.folder),
            "afresh": work.judge is not None,
        }
        result = await self._runner.run(Task(work.job, "quantize", params, self.log(work.job)), self._bus.publish)
        return from_json(Built, result)

    def _publish(self, work: Work, built: Built, source: Path, out: Path) -> Artifact:
        """Write manifest, receipt and card, then make the folder visible. Raises JobError when weights are missing."""
        if absent := [name for name in built.files if not (out / name).is_file()]:
            raise JobError(f"The quantization left no {', '.join(absent)}.", "`lqmf resume` makes it again.")
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
        return artifact

    def _with_modelfile(self, draft: Manifest, out: Path) -> Manifest:
        """The manifest, with Ollama's Modelfile written beside what is of use to it."""
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

    async def _measure(
        self,
        work: Work,
        count: _Count,
        artifact: Artifact,
        base: Path | None,
        job_seconds: float,
        making: Mapping[str, float],
    ) -> None:
        """Test a published artifact; its receipt and card are rewritten. Raises LqmfError; the artifact stays."""
        if work.plan.test == "none":
            return
        reason = None if base else "its source was not kept to compare with"
        plan = work.plan
        log, told = self.log(work.job), plan.prediction
        architecture = work.info.architecture
        what = ToTest(
            work.job, log, artifact, base, reason, plan.test, job_seconds, plan.device, told, making, architecture
        )
        async with self._stage(work.job, "test"):
            try:
                await work.test(what, self._bus.publish)
            except GpuOutOfMemory as error:
                if not plan.cpu_fallback:
                    raise
                self._failed(work.job, count.attempt, error, 0.0)
                count.attempt += 1
                self._started(work, count)
                await work.test(dataclasses.replace(what, device="cpu"), self._bus.publish)

    def _keep(self, plan: QuantizationPlan, base: Path | None) -> Path | None:
        """Where the 16-bit file is from now on: with the models too when it is to be kept, else where it was."""
        if base is None or not plan.keep_16bit:
            return base
        name = f"{workspace.safe_name(plan.model.id)}-{plan.commit or 'local'}{base.suffix}"
        target = self._place.models / "16bit" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        workspace.take(base, target)
        self._bus.publish(Notice(text=f"The 16-bit file is kept: {target}"))
        return target

    # ------------------------------------------------------------ room, logs

    def check_room(self, work: Work) -> None:
        """Raises DiskFull or OutOfMemory when what is still to be done does not fit what is free now."""
        import psutil

        if work.plan.estimate is None:
            return
        used = _used(work)
        arriving = self._arrivals.passing_bytes(work.info, used) if self._arrivals and used else None
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
        """Where a job's libraries write to."""
        return str(self._place.logs / f"{job}.log")

    @contextlib.asynccontextmanager
    async def _stage(self, job: str, stage: str) -> AsyncIterator[None]:
        started = time.monotonic()
        self._bus.publish(StageStarted(job=job, stage=stage))
        yield
        self._bus.publish(StageFinished(job=job, stage=stage, seconds=time.monotonic() - started))


def _used(work: Work) -> Path | None:
    """Where files of weights are marked that are not to stay."""
    return work.folder / "used" if work.plan.discard_source else None


def _entries(folder: Path, *names: str) -> tuple[FileEntry, ...]:
    return tuple(from_json(FileEntry, entry) for entry in workspace.file_entries(folder, names or None))


async def _to_its_end(work: Awaitable[Artifact]) -> Artifact:
    """What has begun to become visible is finished, even when the job is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _may_heal(error: BaseException) -> bool:
    """Whether another attempt is worth it; a server that wants to be left alone for long is not waited for."""
    if isinstance(error, RateLimited) and (error.retry_after_seconds or 0) > PATIENCE_SECONDS:
        return False
    return isinstance(error, LqmfError) and error.transient


def _waiting_time(state: Any) -> float:
    """What the server asked for, else exponential with jitter, in seconds."""
    from tenacity import wait_exponential_jitter

    error = state.outcome.exception()
    if isinstance(error, RateLimited) and error.retry_after_seconds is not None:
        return float(error.retry_after_seconds)
    return float(wait_exponential_jitter(FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)(state))
