"""One job from a decision to a measured artifact: decide, plan, execute, measure, remember. The only place that knows
the order.

It passes frozen records from one agent to the next and reads top to bottom; agents never meet. It asks through
the `ask` that it is given and tells through events; it prints nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.agents.executor_agent import Work
from lqmf.agents.planner_agent import Announce, PlannerAgent
from lqmf.artifacts import shelf
from lqmf.artifacts.base_model import Given, Sources
from lqmf.errors import GpuOutOfMemory
from lqmf.events import Bus, Emit, JobStarted, Notice
from lqmf.fit import predictions
from lqmf.hub.models import Models
from lqmf.jobs.journal import hold, new_id, work_folder
from lqmf.jobs.runner import JobContext
from lqmf.planning.planner import artifact_name
from lqmf.records import (
    Artifact,
    Decision,
    Job,
    Manifest,
    Measurement,
    ModelInfo,
    QuantizationPlan,
    Receipt,
    Request,
    Utterance,
    from_json,
    to_json,
)
from lqmf.store.artifacts import known_as
from lqmf.store.jobs import command
from lqmf.understanding.answers import Ask

if TYPE_CHECKING:
    from lqmf.agents.enhanced_decision_agent import EnhancedDecisionAgent
    from lqmf.agents.executor_agent import ExecutorAgent
    from lqmf.agents.feedback_agent import FeedbackAgent
    from lqmf.agents.memory_agent import MemoryAgent


@dataclass(frozen=True)
class Made:
    """An artifact, the job that made it, and the slots of its request, answers to questions included."""

    job: str
    artifact: Artifact
    slots: Mapping[str, Any]


class Pipeline:
    """The agents of one workspace, in order."""

    def __init__(
        self,
        place: workspace.Workspace,
        bus: Bus,
        models: Models,
        understanding: EnhancedDecisionAgent,
        planning: PlannerAgent,
        executor: ExecutorAgent,
        feedback: FeedbackAgent,
        memory: MemoryAgent,
        sources: Sources,
        card: Callable[[Artifact, Manifest, Mapping[str, Any]], str],
    ) -> None:
        self._place = place
        self._bus = bus
        self._models = models
        self._understanding = understanding
        self._planning = planning
        self._executor = executor
        self._feedback = feedback
        self._memory = memory
        self._sources = sources
        self._card = card

    # ------------------------------------------------------------ decide

    def turn(self, utterance: Utterance, typed: Decision | None = None) -> Decision:
        """Return the decision to carry out for a line, read in the light of the dialogue so far. `typed` is the exact
        decision of a command line and wins; the dialogue hears the line all the same."""
        if typed is None:
            return self._understanding.decide(utterance)
        self._understanding.hear(utterance)
        return typed

    # ------------------------------------------------------------ plan and execute

    async def quantize(self, request: Request, ask: Ask, announce: Announce) -> list[Made]:
        """Plan, carry out each plan as a job of its own, measured and recorded, and return an artifact for each. Raises
        LqmfError.

        Files that the plans have in common are made once, by the first job. `announce` is called with the plans before
        they are carried out, and with the rules' own plan where a provider is asked about it.
        """
        planned = await self._planning.plan(request, ask, announce)
        announce(planned)
        for one in planned:
            await self._planning.refuse_doomed(one, ask)
            self._memory.remember_plan(one.plan)
        made = []
        with work_folder(self._place, planned[0].info.ref, planned[0].info.commit) as folder:
            for place, one in enumerate(planned):
                later = tuple(other.plan for other in planned[place + 1 :])
                work = self.work(new_id(), one.plan, one.info, folder, later_plans=later)
                artifact = await self.carry_out(work)
                assert artifact is not None, "only a rebuild is refused"
                made.append(Made(work.job, artifact, one.request.said.slots()))
        return made

    def work(self, job: str, plan: QuantizationPlan, info: ModelInfo, folder: Path, **more: Any) -> Work:
        """Return the work for a plan; `more` are fields of `Work`."""
        return Work(
            job=job,
            plan=plan,
            info=info,
            name=artifact_name(plan),
            folder=folder,
            test=self.measure,
            published=self._published,
            replan=self._planning.on_cpu,
            missing=self._models.missing,
            streams=self._planning.streams(plan),
            **more,
        )

    async def carry_out(self, work: Work) -> Artifact | None:
        """Carry out one job and return its artifact as it then lies on the disk; None for a rebuild that was not
        accepted. A second process that takes up the job is refused before it touches anything. Raises LqmfError."""
        with hold(self._place.logs / f"{work.job}.job.lock"):
            self._memory.start_job(work.record)
            made = await self._executor.execute(work)
            return shelf.made(Path(made.path)) if made else None

    def _published(self, artifact: Artifact, manifest: Manifest) -> None:
        self._memory.remember_artifact(artifact, manifest)
        self._understanding.note_artifact(artifact.name)

    # ------------------------------------------------------------ measure

    @contextlib.contextmanager
    def job(self, kind: str, title: str, artifact: str | None = None) -> Iterator[tuple[JobContext, dict[str, Any]]]:
        """Record a job on files that are there already, whatever way the block ends; yield the context that its tasks
        report to, and its result, which names `artifact` where that is given."""
        context = self.context(new_id())
        job = Job(context.job, kind, title, "running", started_at=time.time())
        self._memory.start_job(job)
        with self._executor.recorded(context.job, f"`lqmf {command(to_json(job))}` starts anew.") as result:
            self._bus.publish(JobStarted(job=context.job, kind=kind, title=title))
            if artifact:
                result["artifact"] = artifact
            yield context, result

    def context(self, job: str) -> JobContext:
        """Return the context that the tasks of a job report to: its id, its log and its events."""
        return JobContext(job, self._executor.log(job), self._bus.publish)

    async def measure_against_base(
        self, context: JobContext, artifact: Artifact, depth: str, given: Given | None = None
    ) -> Receipt:
        """Measure an artifact against the base that was `given`, else against its own source, on the device that it was
        made for, or on the CPU where the GPU has no room; return the receipt. Raises LqmfError."""
        manifest = shelf.manifest_of(artifact)
        predicted = (manifest.plan.get("prediction") or {}) if manifest and not given else {}
        device = (manifest.run.get("device") if manifest else None) or "auto"
        async with self._sources.base(context, artifact, manifest, given) as base:
            what = Measurement(context.job, context.log, artifact, base, depth, manifest, device, predicted=predicted)
            try:
                return await self.measure(what, context.emit)
            except GpuOutOfMemory as error:
                if device == "cpu":
                    raise
                context.emit(Notice(text=f"{error.message} It is tested on the CPU instead.", level="warning"))
                return await self.measure(dataclasses.replace(what, device="cpu"), context.emit)

    async def measure(self, what: Measurement, emit: Emit) -> Receipt:
        """Measure an artifact, keep the receipt in it, under benchmarks/ and in the store, and return it. Raises
        LqmfError."""
        artifact = what.artifact
        receipt = await self._feedback.test(what, emit)
        path = self.keep(what.job, artifact, self._feedback.benchmark_document(artifact, receipt))
        self._attach(what, receipt)
        self._memory.remember_receipt(known_as(artifact), receipt, str(path))
        self._learn(what, receipt)
        self._understanding.note_artifact(artifact.name)
        return receipt

    def keep(self, job: str, artifact: Artifact, document: Mapping[str, Any]) -> Path:
        """Write the document of a measurement under benchmarks/, and return its path."""
        path = self._place.benchmarks / f"{artifact.name}-{job}.json"
        workspace.write_json(path, document)
        return path

    # ------------------------------------------------------------ remember

    def _attach(self, what: Measurement, receipt: Receipt) -> None:
        """Write the receipt into the artifact, and its card anew; for a file that LQMF did not make, write the receipt
        beside it."""
        told, place = to_json(receipt), Path(what.artifact.path)
        if what.manifest is None:
            workspace.write_json(shelf.receipt_path(place), told)
            return
        card = self._card(what.artifact, what.manifest, told)
        workspace.rewrite_mutable(place, {workspace.RECEIPT: workspace.json_text(told), workspace.CARD: card})

    def _learn(self, what: Measurement, receipt: Receipt) -> None:
        """Keep predictions beside measurements in the store, once for each artifact that was made."""
        if not what.making or not receipt.prediction or what.manifest is None:
            return
        plan = from_json(QuantizationPlan, what.manifest.plan)
        machine = (receipt.measured_on or {}).get("cpu") or ""
        raw, architecture = plan.uncorrected, what.architecture
        rows = predictions.rows(receipt, plan, architecture=architecture, machine=machine, uncorrected=raw)
        self._memory.remember_predictions(what.job, what.artifact.name, rows)
