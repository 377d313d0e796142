"""The FeedbackAgent: says how good an artifact is. It has it run and compared in worker processes, and makes one
receipt of what they report.

Knows which tasks to ask for, how to share out the time, and what to write where something could not be measured.
Knows nothing of engines, files' formats or where receipts are kept.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import lqmf
from lqmf.errors import (
    GpuOutOfMemory,
    IncompleteModel,
    JobCancelled,
    JobError,
    LqmfError,
    MeasurementError,
    ModelError,
    NotBuilt,
    NotFound,
    RemoteCodeRefused,
    ResourceError,
    UnsupportedModel,
)
from lqmf.events import Emit, Notice
from lqmf.fit.predictions import compare, observed
from lqmf.records import Artifact, Check, Hardware, Receipt, Task, from_json, to_json

EVALUATION_TEXT = Path(lqmf.__file__).parent / "assets" / "text" / "evaluation.txt"
LEAST_BUDGET_SECONDS = 120.0
SHARE_OF_THE_JOB = 0.2
PROBE_SHARE = 1 / 3  # of a quick test's time; comparing with the source gets what is left
QUICK_WINDOWS = 64
WINDOW_TOKENS = 512
FORMAT_VERSION = 1

RunTask = Callable[[Task, Emit], Awaitable[dict[str, Any]]]
MEASURED = ("perplexity", "kl_divergence", "top1_agreement", "base")
OBSERVED = ("latency_seconds", "tokens_per_second", "peak_memory_bytes", "load_seconds", "utilization")


@dataclasses.dataclass(frozen=True)
class _Test:
    """One test: what is asked for, and by whom."""

    artifact: Artifact
    depth: str
    device: str
    job: str
    log: str
    emit: Emit

    @property
    def quick(self) -> bool:
        return self.depth != "comprehensive"

    def task(self, kind: str, **params: Any) -> Task:
        return Task(self.job, kind, {"artifact": self.artifact.path, "device": self.device, **params}, self.log)


class FeedbackAgent:
    """`run_task` carries out a worker's task (a runner's `run`); `text` is what perplexity and divergence are measured
    on; `hardware` says where (None: this machine)."""

    def __init__(
        self, run_task: RunTask, *, text: Path = EVALUATION_TEXT, hardware: Callable[[], Hardware] | None = None
    ) -> None:
        self._run = run_task
        self._text = text
        self._hardware = hardware or _this_machine

    @staticmethod
    def budget(job_seconds: float) -> float:
        """How long a quick test may take after a job of `job_seconds`: two minutes or 20 %, whichever is more."""
        return max(LEAST_BUDGET_SECONDS, SHARE_OF_THE_JOB * job_seconds)

    async def test(
        self,
        artifact: Artifact,
        *,
        base: Path | None,
        base_reason: str | None,
        depth: str,
        budget_seconds: float,
        job: str,
        log: str,
        emit: Emit,
        device: str = "auto",
        predicted: Mapping[str, float] | None = None,
        making: Mapping[str, float | None] | None = None,
    ) -> Receipt:
        """Run `artifact`, compare it with `base` (its 16-bit source; None: `base_reason` says why not), and give the
        receipt. `depth` quick stays within `budget_seconds`; comprehensive reads the whole text.

        `predicted` is what its plan expected, by the names of `lqmf.fit.predictions`; the receipt's `prediction` has it
        beside what was measured here, and beside `making`: what was measured when it was made ("quantize_seconds").

        An artifact that kills its process, finds no room or is unknown to the engine gets a receipt that says so.
        Raises JobCancelled; ModelError or NotFound for damaged or missing files, which say nothing about the artifact
        that they once were; UsageError when there is nothing that could be tested.
        """
        what = _Test(artifact, depth, device, job, log, emit)
        started = time.monotonic()
        probed = await self._probe(what, budget_seconds)
        if any(check["name"] == "loads" and not check["passed"] for check in probed["checks"]):
            compared = _unmeasured("the artifact could not be run")
        else:
            left = budget_seconds - (time.monotonic() - started)
            compared = await self._compare(what, base, base_reason, left)
        receipt = self._receipt(probed, compared)
        beside = compare(predicted or {}, {**observed(receipt), **(making or {})})
        return dataclasses.replace(receipt, prediction=beside)

    async def _probe(self, what: _Test, budget_seconds: float) -> dict[str, Any]:
        limit = budget_seconds * PROBE_SHARE if what.quick else None
        try:
            probed = await self._run(what.task("probe", depth=what.depth, budget_seconds=limit), what.emit)
        except (ModelError, NotFound, NotBuilt, JobError, ResourceError) as error:
            if isinstance(error, JobCancelled | GpuOutOfMemory):  # the latter is worth another try, on the CPU
                raise
            unknown = isinstance(error, UnsupportedModel | RemoteCodeRefused)
            if isinstance(error, ModelError | NotFound | NotBuilt) and not unknown:
                raise _damaged(what.artifact, error) from error
            what.emit(Notice(text=f"{what.artifact.name} does not run: {error}", level="warning"))
            failed = to_json(Check("loads", False, error.message))
            return {"checks": [failed], "reasons": dict.fromkeys(OBSERVED, error.message)}
        return {**probed, "checks": [to_json(Check("loads", True)), *probed["checks"]]}

    async def _compare(self, what: _Test, base: Path | None, reason: str | None, seconds: float) -> dict[str, Any]:
        task = what.task(
            "divergence",
            base=str(base) if base else None,
            base_reason=reason,
            text=str(self._text),
            window_tokens=WINDOW_TOKENS,
            max_windows=QUICK_WINDOWS if what.quick else None,
            budget_seconds=seconds if what.quick else None,
        )
        try:
            return await self._run(task, what.emit)
        except (ModelError, JobError, ResourceError, MeasurementError) as error:
            if isinstance(error, JobCancelled | GpuOutOfMemory):  # the latter is worth another try, on the CPU
                raise
            what.emit(Notice(text=f"Quality could not be measured: {error}", level="warning"))
            return _unmeasured(error.message)

    def _receipt(self, probed: Mapping[str, Any], compared: Mapping[str, Any]) -> Receipt:
        hardware = self._hardware()
        on_gpu = probed.get("device") == "gpu" and hardware.gpus
        where = {
            "cpu": hardware.cpu,
            "gpu": hardware.gpus[0].name if on_gpu else None,
            "engine": probed.get("engine") or compared.get("engine"),
        }
        reasons = {
            "gate": "no limits were set",
            **({} if on_gpu else {"measured_on.gpu": "it ran on the CPU"}),
            **probed.get("reasons", {}),
            **compared.get("reasons", {}),
        }
        return from_json(Receipt, {**probed, **compared, "measured_on": where, "reasons": reasons})

    @staticmethod
    def benchmark_document(
        artifact: Artifact, receipt: Receipt, clock: Callable[[], float] = time.time
    ) -> dict[str, Any]:
        """One test's result in full, for `benchmarks/`: {"format_version", "kind": "test", "measured_at" (ISO 8601,
        UTC), "artifact": {the artifact's fields without its receipt}, "response_tokens": {"mean", "shortest",
        "longest"} of the sample answers or null, "receipt": {the receipt}}."""
        described = {key: value for key, value in to_json(artifact).items() if key != "receipt"}
        return {
            "format_version": FORMAT_VERSION,
            "kind": "test",
            "measured_at": datetime.datetime.fromtimestamp(clock(), datetime.UTC).isoformat(timespec="seconds"),
            "artifact": described,
            "response_tokens": _lengths([int(sample["tokens"]) for sample in receipt.samples]),
            "receipt": to_json(receipt),
        }


def _damaged(artifact: Artifact, error: LqmfError) -> LqmfError:
    """`error`, from loading `artifact`, with what to do about it."""
    name = artifact.name
    remedy = f"`lqmf verify {name}` says which file differs; `lqmf delete {name}`, then quantize it again."
    if artifact.foreign:
        remedy = f"Get the file again; `lqmf delete {name}` removes this one."
    if not isinstance(error, NotBuilt):
        return type(error)(error.message, remedy, **error.details)
    if artifact.method != "gguf":  # an engine for it is what is missing
        return error
    return IncompleteModel(f"{artifact.path} holds no weights any more.", remedy)


def _unmeasured(reason: str) -> dict[str, Any]:
    return {"reasons": dict.fromkeys(MEASURED, reason)}


def _lengths(tokens: list[int]) -> dict[str, float] | None:
    return {"mean": fmean(tokens), "shortest": min(tokens), "longest": max(tokens)} if tokens else None


def _this_machine() -> Hardware:
    from lqmf import hardware

    return hardware.detect()
