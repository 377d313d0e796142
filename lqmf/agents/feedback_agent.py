"""The FeedbackAgent: says how good an artifact is. It lets worker processes run and compare the artifact, and makes one
receipt of their reports.

Knows which tasks to ask for, how to share out the time, and what to write where a figure could not be measured. Knows
nothing of engines, files' formats or where receipts are kept.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

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
    UsageError,
)
from lqmf.events import Emit, Notice
from lqmf.fit.corrections import measured_losses
from lqmf.fit.predictions import compare, is_of_time, observed
from lqmf.fit.quality import expected_loss
from lqmf.hardware import detect, load
from lqmf.model_files.model_kind import kind_at
from lqmf.quality.address import artifact as artifact_of
from lqmf.quality.compare.verdict import Case, Verdict, verdict
from lqmf.quality.measures import busy
from lqmf.quality.receipt import conversion, figures, gate, kept_conversions
from lqmf.quality.receipt.schedule import OVERTIME_SECONDS
from lqmf.quality.result_file import result
from lqmf.records import Artifact, Check, Hardware, Measurement, QuantizationPlan, Receipt, Task, from_json, to_json
from lqmf.texts import evaluation

if TYPE_CHECKING:
    from lqmf.jobs.runner import JobContext, RunTask

EVALUATION_TEXT = evaluation.EVALUATION[evaluation.MAIN]
LEAST_BUDGET_SECONDS = 120.0
SHARE_OF_THE_JOB = 0.2
PROBE_SHARE = 1 / 3  # of a quick test's time; comparing with the source gets what is left
CONVERSION_SHARE = 1 / 4  # of it, that holding the source's GGUF against the model itself has at the least
STARTING_SECONDS = 5.0  # the last worker takes to start, and to end, on a busy machine
_ENDING_SECONDS = OVERTIME_SECONDS + STARTING_SECONDS
QUICK_WINDOWS = 64  # of all texts
WINDOW_TOKENS = 512

OF_OTHERS = {"similarity": "only encoders have it", "sequence_loss": "only encoder-decoders have it"}
OBSERVED = ("latency_seconds", "tokens_per_second", "peak_memory_bytes", "load_seconds", "utilization")


class FeedbackAgent:
    """`run_task` carries out a worker's task (a runner's `run`); `text` is the text for perplexity and divergence;
    `hardware` says where they are measured (None: this machine); `limits` are the bounds of the gate; `load` tells how
    busy other programs keep that machine now (`lqmf.hardware.load`)."""

    def __init__(
        self,
        run_task: RunTask,
        *,
        text: Path = EVALUATION_TEXT,
        hardware: Callable[[], Hardware] | None = None,
        limits: gate.Limits | None = None,
        load: Callable[[], float] = load,
    ) -> None:
        self._run = run_task
        self._limits = limits or gate.limits()
        self._text = text
        self._domains = {k: v for k, v in evaluation.EVALUATION.items() if v != text} if text == EVALUATION_TEXT else {}
        self._hardware = hardware or detect
        self._load = load

    @staticmethod
    def budget(job_seconds: float) -> float:
        """Return how many seconds a quick test may take after a job of `job_seconds`: two minutes or 20 %, whichever is
        more."""
        return max(LEAST_BUDGET_SECONDS, SHARE_OF_THE_JOB * job_seconds)

    async def test(self, what: Measurement, emit: Emit) -> Receipt:
        """Run the artifact, check its files, compare it with its base, judge it, and return the receipt. The depth
        quick stays within `budget`; comprehensive reads the whole text. The receipt's `prediction` has the predictions
        beside the measurements, of this test and of making the artifact; on a busy machine without speeds and times.

        An artifact that kills its process, finds no room or is unknown to the engine gets a receipt that says so.
        Raises JobCancelled; GpuOutOfMemory, which is worth another try on the CPU; ModelError or NotFound for damaged
        or missing files, which say nothing about the artifact that they once were; UsageError when there is nothing
        that could be tested; MeasurementError when the user named a base that the artifact was not made from.
        """
        budget_seconds, started = self.budget(what.job_seconds), time.monotonic()

        def left() -> float:
            return budget_seconds - (time.monotonic() - started)

        before = await asyncio.to_thread(self._load)
        running, comparing = _kinds(what.artifact)
        probed = await self._probe(what, running, budget_seconds, emit)
        checked: dict[str, Any] = {"checks": []}
        converted = _unconverted("the artifact could not be run")
        if any(check["name"] == "loads" and not check["passed"] for check in probed["checks"]):
            compared = _unmeasured("the artifact could not be run")
        else:
            checked = await self._structure(what, min(budget_seconds * PROBE_SHARE, left() / 2), emit)
            known = await self._known_conversion(what, running)
            if known is None and _is_quick(what) and left() < budget_seconds / 2:
                known = _unconverted("there was no time left for it; a comprehensive test does it")
            if known is not None:
                compared = await self._compare(what, comparing, left() - _ENDING_SECONDS, None, emit)
                converted = known
            else:
                reserved = budget_seconds * CONVERSION_SHARE
                with TemporaryDirectory(prefix="lqmf-", ignore_cleanup_errors=True) as folder:
                    rows = Path(folder) / "rows"
                    compared = await self._compare(what, comparing, left() - _ENDING_SECONDS - reserved, rows, emit)
                    converted = await self._conversion(what, max(reserved, left() - STARTING_SECONDS), rows, emit)
        reasons = {**compared.get("reasons", {}), **converted["reasons"]}
        receipt = self._receipt(probed, checked, {**compared, **converted, "reasons": reasons}, what.base.name)
        loads = {"before": before, "after": await asyncio.to_thread(self._load)}
        receipt = dataclasses.replace(self._judged(receipt, what.artifact), load=loads)
        hurried = busy(to_json(receipt))
        if hurried:
            emit(Notice(text="Other programs keep this machine busy: speeds are not reliable.", level="warning"))
        found = {k: v for k, v in {**observed(receipt), **what.making}.items() if not (hurried and is_of_time(k))}
        return dataclasses.replace(receipt, prediction=compare(what.predicted, found))

    async def test_address(
        self, address: str, model: str | None, key: str | None, *, depth: str, context: JobContext
    ) -> tuple[Artifact, Receipt]:
        """Return the record that names a model behind an OpenAI-compatible address, and its receipt; `model` None is
        the only one there. Raises LqmfError where it cannot be asked, and JobCancelled."""
        params = {"address": address, "model": model, "key": key, "depth": depth, "text": str(self._text)}
        found = await self._run(Task(context.job, "address", params, context.log), context.emit)
        artifact = artifact_of(address, found.pop("model"))
        return artifact, self._judged(from_json(Receipt, found), artifact)

    def _judged(self, receipt: Receipt, artifact: Artifact) -> Receipt:
        """Return the receipt with its gate; where the gate is undecided, with its reason among the others."""
        judged = gate.judge(receipt, artifact.method, artifact.bits, self._limits)
        why = {"gate": judged["reasons"][0]} if judged["passed"] is None else {}
        return dataclasses.replace(receipt, gate=judged, reasons={**receipt.reasons, **why})

    async def _probe(self, what: Measurement, kind: str, budget_seconds: float, emit: Emit) -> dict[str, Any]:
        limit = budget_seconds * PROBE_SHARE if _is_quick(what) else None
        try:
            probed = await self._run(_task(what, kind, depth=what.depth, budget_seconds=limit), emit)
        except (ModelError, NotFound, NotBuilt, JobError, ResourceError) as error:
            if isinstance(error, JobCancelled | GpuOutOfMemory):  # the latter is worth another try, on the CPU
                raise
            unknown = isinstance(error, UnsupportedModel | RemoteCodeRefused)
            if isinstance(error, ModelError | NotFound | NotBuilt) and not unknown:
                raise _damaged(what.artifact, error) from error
            emit(Notice(text=f"{what.artifact.name} does not run: {error}", level="warning"))
            failed = to_json(Check("loads", False, error.message))
            return {"checks": [failed], "reasons": dict.fromkeys(OBSERVED, error.message)}
        return {**probed, "checks": [to_json(Check("loads", True)), *probed["checks"]]}

    async def _structure(self, what: Measurement, seconds: float, emit: Emit) -> dict[str, Any]:
        """Return the checks of the files against the source's. Raises MeasurementError for a base that the user named,
        and that is another model."""
        limit = seconds if _is_quick(what) else None
        source, base = (str(place) if place else None for place in (what.base.source, what.base.path))
        task = _task(what, "structure", source=source, base=base, reason=what.base.reason, budget_seconds=limit)
        try:
            checked = await self._run(task, emit)
        except LqmfError as error:
            if isinstance(error, JobCancelled):
                raise
            emit(Notice(text=f"Its files could not be checked: {error}", level="warning"))
            return {"checks": [], "reasons": {"checks": error.message}}
        if what.base.said and checked["other_model"]:
            raise MeasurementError(
                f"{what.artifact.name} was not made from {what.base.name}: {checked['other_model']}.",
                "Name the model that it was made from: `lqmf test FILE --base MODEL`.",
            )
        return checked

    async def _known_conversion(self, what: Measurement, kind: str) -> dict[str, Any] | None:
        """Return the comparison of the 16-bit GGUF with the model itself where an earlier test made it, or why there is
        none to make; None where it is to be made."""
        if (why := _not_converted(what, kind)) is not None:
            return _unconverted(why)
        assert what.base.source is not None
        assert what.base.path is not None
        places = what.base.source, what.base.path, self._text
        found = await asyncio.to_thread(kept_conversions.told, *places, _conversion_windows(what))
        return {"conversion": found, "reasons": {}} if found else None

    async def _conversion(self, what: Measurement, seconds: float, rows: Path, emit: Emit) -> dict[str, Any]:
        """Compare the 16-bit GGUF with the model itself, in `seconds` where the test is quick; `rows` is where the
        comparison of the artifact left what the GGUF predicts."""
        task = _task(
            what,
            "conversion",
            source=str(what.base.source),
            base=str(what.base.path),
            text=str(self._text),
            windows=_conversion_windows(what),
            rows=str(rows),
            budget_seconds=seconds if _is_quick(what) else None,
        )
        try:
            return await self._run(task, emit)
        except (ModelError, JobError, ResourceError, MeasurementError) as error:
            if isinstance(error, JobCancelled):
                raise
            emit(Notice(text=f"The conversion could not be compared with the model: {error}", level="warning"))
            return _unconverted(error.message)

    async def _compare(
        self, what: Measurement, kind: str, seconds: float, rows: Path | None, emit: Emit
    ) -> dict[str, Any]:
        quick, base = _is_quick(what), what.base
        task = _task(
            what,
            kind,
            base=str(base.path) if base.path else None,
            base_reason=base.reason,
            text=str(self._text),
            window_tokens=WINDOW_TOKENS,
            max_windows=QUICK_WINDOWS if quick else None,
            budget_seconds=seconds if quick else None,
            stop_at=self._limits.of(what.artifact.bits) if quick else None,
            domains={name: str(path) for name, path in self._domains.items()},
            reference=str(base.source) if base.source else None,
            keep={"file": str(rows), "windows": _conversion_windows(what)} if rows else None,
        )
        try:
            return await self._run(task, emit)
        except (ModelError, JobError, ResourceError, MeasurementError) as error:
            if isinstance(error, JobCancelled | GpuOutOfMemory):  # the latter is worth another try, on the CPU
                raise
            emit(Notice(text=f"Quality could not be measured: {error}", level="warning"))
            return _unmeasured(error.message)

    def _receipt(
        self, probed: Mapping[str, Any], checked: Mapping[str, Any], compared: Mapping[str, Any], source: str
    ) -> Receipt:
        hardware = self._hardware()
        on_gpu = probed.get("device") == "gpu" and hardware.gpus
        where = {
            "cpu": hardware.cpu,
            "gpu": hardware.gpus[0].name if on_gpu else None,
            "engine": probed.get("engine") or compared.get("engine"),
        }
        reasons = {
            **({} if on_gpu else {"measured_on.gpu": "it ran on the CPU"}),
            **probed.get("reasons", {}),
            **checked.get("reasons", {}),
            **compared.get("reasons", {}),
        }
        made = {**probed, **compared, "measured_on": where, "reasons": reasons}
        made["checks"] = [*probed["checks"], *checked["checks"]]
        if compared.get("base") and source:
            made["base"] = {**compared["base"], "model": source}
        made["reasons"] = {**{name: why for name, why in OF_OTHERS.items() if not made.get(name)}, **reasons}
        return from_json(Receipt, made)

    @staticmethod
    def closing(
        artifact: Artifact, plan: QuantizationPlan, history: Sequence[Mapping[str, Any]], others: Iterable[Artifact]
    ) -> Verdict:
        """Return the verdict on `artifact`, and the proposal of what to make next. `history` are earlier predictions
        with their measurements, newest first; `others` are the artifacts that there are."""
        measured = measured_losses(history, plan.model.id)
        alike = [one for one in others if (one.model, one.method) == (artifact.model, artifact.method)]
        made = {one.type or f"{one.bits}bit": one.name for one in alike if not one.foreign}
        return verdict(Case(artifact, plan, lambda type: expected_loss(type, measured=measured), made))

    async def layers(self, artifact: Artifact, base: Path, context: JobContext) -> dict[str, Any]:
        """Measure the loss of each tensor of a GGUF artifact against its source at `base`; return the document for
        `benchmarks/`: {"format_version", "kind": "layers", "measured_at", "artifact", "layers": the result of the
        worker's task `layers`}. Raises as that task does, and JobCancelled."""
        params = {"artifact": artifact.path, "base": str(base), "text": str(self._text)}
        return result(
            "layers", artifact, layers=await self._run(Task(context.job, "layers", params, context.log), context.emit)
        )

    @staticmethod
    def benchmark_document(artifact: Artifact, receipt: Receipt) -> dict[str, Any]:
        """Return one test's result in full, for `benchmarks/`: {"format_version", "kind": "test", "measured_at" (ISO
        8601, UTC), "artifact": {the artifact's fields without its receipt}, "response_tokens": {"mean", "shortest",
        "longest"} of the sample answers or null, "receipt": {the receipt}}."""
        tokens = _lengths([int(sample["tokens"]) for sample in receipt.samples])
        return result("test", artifact, response_tokens=tokens, receipt=to_json(receipt))


def _is_quick(what: Measurement) -> bool:
    return what.depth != "comprehensive"


def _task(what: Measurement, kind: str, **params: Any) -> Task:
    return Task(what.job, kind, {"artifact": what.artifact.path, "device": what.device, **params}, what.log)


def _kinds(artifact: Artifact) -> tuple[str, str]:
    """Return the worker's tasks that run this kind of model, and that compare it with its source."""
    try:
        writes = kind_at(Path(artifact.path)) == "decoder"
    except (ModelError, NotFound, UsageError):  # the task says what is wrong with it
        writes = True
    return ("probe", "divergence") if writes else ("read", "likeness")


def _damaged(artifact: Artifact, error: LqmfError) -> LqmfError:
    """Return `error`, from loading `artifact`, with a remedy."""
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
    return {"reasons": dict.fromkeys(figures.FIELDS, reason)}


def _not_converted(what: Measurement, kind: str) -> str | None:
    """Return why there is no conversion to compare with the model; None where there is one."""
    if what.artifact.method != "gguf":
        return "it was not converted: the same engine runs it and its source"
    if kind != "probe":
        return "only models that continue text are compared with the model itself"
    if what.base.path is None or what.base.source is None:
        return what.base.reason or "the model's own folder is not on this machine"
    return None


def _conversion_windows(what: Measurement) -> int:
    return conversion.WINDOWS if _is_quick(what) else conversion.THOROUGH_WINDOWS


def _unconverted(reason: str) -> dict[str, Any]:
    return {"conversion": None, "reasons": {"conversion": reason}}


def _lengths(tokens: list[int]) -> dict[str, float] | None:
    return {"mean": fmean(tokens), "shortest": min(tokens), "longest": max(tokens)} if tokens else None
