"""One turn: decide, plan, execute, remember, feed back. The only place that knows the order.

It passes frozen records from one agent to the next and reads top to bottom; agents never meet. It asks through
the `ask` that it is given and tells through events; it prints nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import hardware, workspace
from lqmf.agents.planner_agent import Announce, PlannerAgent, accepted
from lqmf.artifacts import rebuild as rebuilding
from lqmf.artifacts import shelf
from lqmf.artifacts.base_model import Given, Sources
from lqmf.errors import (
    GpuOutOfMemory,
    IncompleteModel,
    JobError,
    MeasurementError,
    ModelNotFound,
    NotFound,
    StoreError,
    Unauthorized,
    UsageError,
)
from lqmf.events import Bus, Emit, JobStarted, Notice
from lqmf.fit import predictions
from lqmf.hub.models import Models
from lqmf.jobs.journal import hold, new_id
from lqmf.planning.planner import artifact_name
from lqmf.records import (
    Artifact,
    Decision,
    Feedback,
    Job,
    Manifest,
    ModelInfo,
    ModelRef,
    Option,
    Proposal,
    QuantizationPlan,
    Question,
    Receipt,
    Task,
    Utterance,
    from_json,
    to_json,
)
from lqmf.understanding.answers import Ask
from lqmf.understanding.proposals import next_request, request_of
from lqmf.version import VERSION

if TYPE_CHECKING:
    from lqmf.agents.benchmark_agent import BenchmarkAgent, Wish
    from lqmf.agents.enhanced_decision_agent import EnhancedDecisionAgent
    from lqmf.agents.executor_agent import ExecutorAgent, ToTest, Work
    from lqmf.agents.feedback_agent import FeedbackAgent
    from lqmf.agents.memory_agent import MemoryAgent
    from lqmf.artifacts.rebuild import Rebuilt
    from lqmf.jobs.runner import Runner
    from lqmf.records import Against


@dataclass(frozen=True)
class Quantized:
    """What `quantize` made; `jobs` are in the order of the artifacts, and so is what there is to say of each."""

    jobs: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    feedback: tuple[Feedback, ...] = ()


class Pipeline:
    """The agents of one workspace, in order."""

    def __init__(
        self,
        place: workspace.Workspace,
        bus: Bus,
        models: Models,
        runner: Runner,
        understanding: EnhancedDecisionAgent,
        planning: PlannerAgent,
        executor: ExecutorAgent,
        feedback: FeedbackAgent,
        benchmark: BenchmarkAgent,
        memory: MemoryAgent,
        card: Callable[[Artifact, Manifest, Mapping[str, Any]], str],
    ) -> None:
        self._place = place
        self._bus = bus
        self._models = models
        self._runner = runner
        self._understanding = understanding
        self._planning = planning
        self._executor = executor
        self._feedback = feedback
        self._benchmark = benchmark
        self._memory = memory
        self._card = card
        self._told: set[str] = set()
        self._sources = Sources(models, planning.inspect, runner.run, bus.publish, self._work_folder)

    # ------------------------------------------------------------ a turn

    def turn(self, utterance: Utterance, typed: Decision | None = None) -> Decision:
        """Return what the line means, in the light of the dialogue so far: the decision to carry out. `typed` is what a
        command line said exactly; the dialogue hears of it all the same."""
        understood = self._understanding.decide(utterance)
        return typed or understood

    # ------------------------------------------------------------ quantize

    async def quantize(self, decision: Decision, ask: Ask, announce: Announce) -> Quantized:
        """Plan, then carry out each plan as a job of its own, measured and recorded. Raises LqmfError.

        What the plans have in common is made once, by the first job. `announce` is handed each plan before it is
        carried out, and the rules' own where a provider is asked about it.
        """
        planned = await self._planning.plan(decision, ask, announce)
        for one in planned:
            announce(one)
            await self._planning.refuse_doomed(one, ask)
            self._memory.remember_plan(one.plan)
        jobs, made = [], []
        with self._work_folder(planned[0].info.ref, planned[0].info.commit) as folder:
            for place, one in enumerate(planned):
                job, ahead = new_id(), tuple(later.plan for later in planned[place + 1 :])
                jobs.append(job)
                made.append(await self._carry_out(self._work(job, one.plan, one.info, folder, ahead=ahead)))
        closing = (
            self.feedback(artifact, one.request.said.slots()) for artifact, one in zip(made, planned, strict=True)
        )
        return Quantized(tuple(jobs), tuple(made), tuple(closing))

    @contextlib.contextmanager
    def _work_folder(self, model: ModelRef, commit: str | None, apart: str = "") -> Iterator[Path]:
        """Where jobs on this model keep what they make on the way (a rebuild `apart` from the rest); one of its own
        while another process has that."""
        key = work_key(model, commit) + apart
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(hold(self._place.logs / f"{key}.work.lock"))
            except JobError:
                key = f"{key}-{new_id()}"
            yield stack.enter_context(workspace.work(self._place.artifacts, key))

    async def _carry_out(self, work: Work) -> Artifact:
        made = await self._carry_out_judged(work)
        assert made is not None, "only a judge lets go of what was made"
        return made

    async def _carry_out_judged(self, work: Work) -> Artifact | None:
        """One job of ours alone: a second process that takes it up is refused before it touches anything."""
        with hold(self._place.logs / f"{work.job}.job.lock"):
            self._memory.start_job(
                Job(
                    id=work.job,
                    kind=work.kind,
                    title=work.title,
                    status="running",
                    plan=to_json(work.plan),
                    attempts=work.first_attempt,
                    started_at=time.time(),
                )
            )
            made = await self._executor.execute(work)
            return self._fresh(made) if made else None

    def _work(self, job: str, plan: QuantizationPlan, info: ModelInfo, folder: Path, **more: Any) -> Work:
        from lqmf.agents.executor_agent import Work

        return Work(
            job=job,
            plan=plan,
            info=info,
            name=artifact_name(plan),
            folder=folder,
            test=self._test_published,
            published=self._published,
            replan=self._planning.on_cpu,
            missing=self._models.missing,
            streams=self._planning.streams(plan),
            **more,
        )

    def _published(self, artifact: Artifact, manifest: Manifest) -> None:
        self._memory.remember_artifact(artifact, manifest)
        self._understanding.note_artifact(artifact.name)

    def _fresh(self, artifact: Artifact) -> Artifact:
        """The artifact as it lies on disk now, receipt included."""
        return shelf.find(artifact.path, self.artifacts())

    # ------------------------------------------------------------ test

    async def test(self, decision: Decision, ask: Ask) -> tuple[Artifact, Receipt]:
        """Measure an artifact against its source, or against the base that was named. Raises NotFound, AmbiguousName,
        or what measuring raises; MeasurementError for a base that it was not made from."""
        artifact = self.find(decision.slots.get("name"))
        said = decision.slots.get("base")
        given = await self._sources.named(str(said), ask) if said else None
        depth = decision.slots.get("test") or await self._depth(artifact, ask)
        job = new_id()
        started = JobStarted(job=job, kind="test", title=artifact.name)
        self._memory.start_job(Job(job, "test", artifact.name, "running", started_at=time.time()))
        with self._executor.recorded(job) as result:
            self._bus.publish(started)
            result["artifact"] = artifact.name
            receipt = await self._measure_against_source(job, artifact, depth, given)
        return self._fresh(artifact), receipt

    async def test_address(
        self, address: str, model: str | None, key: str | None, depth: str
    ) -> tuple[Artifact, Receipt]:
        """Measure a model behind an OpenAI-compatible address; kept under benchmarks/ and in the store. Raises
        LqmfError where it cannot be asked."""
        with self._address_job("test", address) as (job, result):
            log = self._executor.log(job)
            artifact, receipt = await self._feedback.test_address(
                address, model, key, depth=depth, job=job, log=log, emit=self._bus.publish
            )
            result["artifact"] = artifact.name
            path = self._place.benchmarks / f"{artifact.name}-{job}.json"
            workspace.write_json(path, self._feedback.benchmark_document(artifact, receipt))
            self._memory.remember_receipt(_known_as(artifact), receipt, str(path))
        return artifact, receipt

    async def benchmark_address(self, address: str, model: str | None, key: str | None, wish: Wish) -> dict[str, Any]:
        """Time a model behind an address and ask it the prompts; kept as a benchmark is. Gives the file's document and
        its "path". Raises LqmfError where it cannot be asked."""
        from lqmf.agents.benchmark_agent import Errand

        with self._address_job("benchmark", address) as (job, result):
            errand = Errand(job, self._executor.log(job), self._bus.publish)
            artifact, measured = await self._benchmark.benchmark_address(address, model, key, wish, errand)
            result["artifact"] = artifact.name
            document = self._benchmark.file(artifact, measured)
            path = self._place.benchmarks / f"{artifact.name}-{job}.json"
            workspace.write_json(path, document)
            self._memory.remember_benchmark(_known_as(artifact), job, path, measured)
        return {**document, "path": str(path)}

    @contextlib.contextmanager
    def _address_job(self, kind: str, address: str) -> Iterator[tuple[str, dict[str, Any]]]:
        job = new_id()
        self._memory.start_job(Job(job, kind, address, "running", started_at=time.time()))
        with self._executor.recorded(job) as result:
            self._bus.publish(JobStarted(job=job, kind=kind, title=address))
            yield job, result

    async def _depth(self, artifact: Artifact, ask: Ask) -> str:
        if artifact.size_bytes < 1_000_000_000:
            return "quick"
        question = Question(
            id="test",
            text="Quick (two minutes at most) or comprehensive (every window of the evaluation text)?",
            options=(Option("quick", "quick"), Option("comprehensive", "comprehensive")),
            default="quick",
            reason="The figures are the same; the error bars shrink with the number of tokens.",
        )
        return str(accepted(await ask(question)))

    async def _measure_against_source(
        self, job: str, artifact: Artifact, depth: str, given: Given | None = None
    ) -> Receipt:
        from lqmf.agents.executor_agent import ToTest

        log = self._executor.log(job)
        with contextlib.ExitStack() as stack:
            against = await self._base(job, log, artifact, stack, given)
            told = {} if artifact.foreign or given else _manifest(artifact).plan.get("prediction") or {}
            device = "auto" if artifact.foreign else _manifest(artifact).run.get("device") or "auto"
            what = ToTest(job, log, artifact, against.base, against.reason, depth, 0.0, device, predicted=told)
            named = dataclasses.replace(what, source=against.source, base_name=against.name, said=against.said)
            try:
                return await self._test_published(named, self._bus.publish)
            except GpuOutOfMemory as error:
                if device == "cpu":
                    raise
                self._bus.publish(Notice(text=f"{error.message} It is tested on the CPU instead.", level="warning"))
                return await self._test_published(dataclasses.replace(named, device="cpu"), self._bus.publish)

    async def _base(
        self, job: str, log: str, artifact: Artifact, stack: contextlib.ExitStack, given: Given | None = None
    ) -> Against:
        """What the artifact is compared with, for as long as `stack` is open: the base that was `given`, else its own
        source; or why there is nothing."""
        return await self._sources.against(job, log, artifact, given, stack.enter_context)

    async def _test_published(self, what: ToTest, emit: Emit) -> Receipt:
        """Measure, then keep the result in the artifact, under benchmarks/ and in the store."""
        receipt = await self._feedback.test(
            what.artifact,
            against=self._against(what),
            depth=what.depth,
            budget_seconds=self._feedback.budget(what.job_seconds),
            job=what.job,
            log=what.log,
            emit=emit,
            device=what.device,
            predicted=what.predicted,
            making=what.making,
        )
        document = self._feedback.benchmark_document(what.artifact, receipt)
        path = self._place.benchmarks / f"{what.artifact.name}-{what.job}.json"
        workspace.write_json(path, document)
        if what.artifact.foreign:
            workspace.write_json(shelf.receipt_path(Path(what.artifact.path)), to_json(receipt))
        else:
            self._attach(what.artifact, receipt)
        self._memory.remember_receipt(_known_as(what.artifact), receipt, str(path))
        self._learn(what, receipt)
        self._understanding.note_artifact(what.artifact.name)
        return receipt

    def _against(self, what: ToTest) -> Against:
        """What it is held against: of an artifact that was just made its manifest says what."""
        from lqmf.records import Against

        if what.artifact.foreign or what.base_name:
            return Against(what.base, what.base_reason, what.source, what.base_name, what.said)
        made = _manifest(what.artifact)
        return Against(what.base, what.base_reason, self._models.stored(made.model, made.commit), made.model.id)

    def _learn(self, what: ToTest, receipt: Receipt) -> None:
        """Keep what was predicted beside what was measured, once for each artifact that was made."""
        if not what.making or not receipt.prediction:
            return
        plan = from_json(QuantizationPlan, _manifest(what.artifact).plan)
        machine = (receipt.measured_on or {}).get("cpu") or ""
        raw, architecture = plan.uncorrected, what.architecture
        rows = predictions.rows(receipt, plan, architecture=architecture, machine=machine, uncorrected=raw)
        self._memory.remember_predictions(what.job, what.artifact.name, rows)

    def _attach(self, artifact: Artifact, receipt: Receipt) -> None:
        told = to_json(receipt)
        card = self._card(artifact, _manifest(artifact), told)
        texts = {workspace.RECEIPT: workspace.json_text(told), workspace.CARD: card}
        workspace.rewrite_mutable(Path(artifact.path), texts)

    async def measure_layers(self, artifact: Artifact) -> Path:
        """Measure what each tensor of a GGUF artifact loses, and keep it under benchmarks/. Raises MeasurementError
        where there is no source to compare with, and what measuring raises."""
        job = new_id()
        self._memory.start_job(Job(job, "layers", artifact.name, "running", started_at=time.time()))
        with self._executor.recorded(job) as result, contextlib.ExitStack() as stack:
            self._bus.publish(JobStarted(job=job, kind="layers", title=artifact.name))
            result["artifact"] = artifact.name
            log = self._executor.log(job)
            against = await self._base(job, log, artifact, stack)
            if (base := against.base) is None:
                why = str(against.reason)
                remedy = f"`lqmf show {artifact.name}` names what it was made from."
                raise MeasurementError(f"{why[:1].upper()}{why[1:]}.", remedy)
            told = await self._feedback.layers(artifact, base=base, job=job, log=log, emit=self._bus.publish)
            path = self._place.benchmarks / f"{artifact.name}-{job}.json"
            workspace.write_json(path, told)
        return path

    # ------------------------------------------------------------ benchmark and compare

    async def benchmark(self, artifact: Artifact, wish: Wish) -> dict[str, Any]:
        """Time an artifact and hold its answers against its source's; kept under benchmarks/ and in the store. Gives
        the file's document and its "path". Raises LqmfError for what cannot be run."""
        from lqmf.agents.benchmark_agent import Errand

        job = new_id()
        self._memory.start_job(Job(job, "benchmark", artifact.name, "running", started_at=time.time()))
        with self._executor.recorded(job) as result, contextlib.ExitStack() as stack:
            self._bus.publish(JobStarted(job=job, kind="benchmark", title=artifact.name))
            result["artifact"] = artifact.name
            errand = Errand(job, self._executor.log(job), self._bus.publish)
            source = await self._base(job, errand.log, artifact, stack)
            measured = await self._benchmark.benchmark(
                artifact, wish, errand, source=source.base, source_reason=source.reason
            )
            document = self._benchmark.file(artifact, measured)
            path = self._place.benchmarks / f"{artifact.name}-{job}.json"
            workspace.write_json(path, document)
            self._memory.remember_benchmark(_known_as(artifact), job, path, measured)
            self._understanding.note_artifact(artifact.name)
        return {**document, "path": str(path)}

    async def compare(self, names: Sequence[str]) -> dict[str, Any]:
        """The receipts and benchmarks of several artifacts side by side. Raises NotFound, AmbiguousName."""
        artifacts = [self.find(name) for name in names]
        made = [[row["benchmark"] for row in self._memory.benchmarks(_known_as(artifact))] for artifact in artifacts]
        return self._benchmark.compare(artifacts, made)

    # ------------------------------------------------------------ feedback

    def feedback(self, artifact: Artifact, said: Mapping[str, Any] | None = None) -> Feedback:
        """What came of an artifact's job or test, and what may be made next: a yes to it is the request `said` (None:
        that of its plan), changed. Nothing for a file of unknown origin."""
        if artifact.foreign:
            return Feedback()
        plan = from_json(QuantizationPlan, _manifest(artifact).plan)
        told = self._feedback.closing(artifact, plan, self._history(), self.artifacts())
        if told.step is None:
            return Feedback(told.sentences)
        known = self._planning.parameters(plan.method)
        decision = next_request(request_of(plan, known) if said is None else said, told.step.slots, known)
        return Feedback(told.sentences, Proposal(told.step.text, decision))

    def _history(self) -> list[dict[str, Any]]:
        """What was predicted and measured before; nothing where the store cannot be read."""
        try:
            return self._memory.predictions()
        except StoreError:
            return []

    # ------------------------------------------------------------ rebuild

    async def rebuild(self, what: str | None, ask: Ask, *, keep: bool = False) -> Rebuilt:
        """Make an artifact again from its manifest (`what` names it, or is a manifest's path), and compare. What was
        made goes away unless it is to be kept, or there is no artifact of that manifest here. Raises NotFound,
        AmbiguousName, ModelError where the source has changed or is gone, and what making it raises."""
        wanted = rebuilding.original(what, self.find)
        plan = rebuilding.plan_of(wanted.manifest, gpu=bool(hardware.gpus()))
        stored = self._models.stored(plan.model, plan.commit)
        rebuilding.refuse_gone(wanted.manifest, stored)
        try:
            info = await self._pinned(plan, ask)
        except (ModelNotFound, IncompleteModel, Unauthorized) as error:  # the Hub says that of what it has not, too
            raise rebuilding.gone(wanted.manifest, error.message) from error
        await asyncio.to_thread(rebuilding.refuse_changed, wanted.manifest, info, stored, self._bus.publish)
        for sentence in rebuilding.warnings(wanted.manifest, plan):
            self._bus.publish(Notice(text=sentence, level="warning"))
        job, keep = new_id(), keep or not wanted.is_in(self._place.artifacts)
        judge = rebuilding.Judge(wanted, self._runner.run, job, self._executor.log(job), self._bus.publish, keep=keep)
        with self._work_folder(info.ref, info.commit, f"-again-{wanted.key}") as folder:
            artifact = await self._carry_out_judged(self._work(job, plan, info, folder, judge=judge))
        assert judge.result is not None, "the executor asks the judge before it ends"
        return dataclasses.replace(judge.result, artifact=artifact)

    # ------------------------------------------------------------ artifacts and jobs

    def artifacts(self) -> list[Artifact]:
        """What lies in quantized-models/, foreign GGUF files included, newest first."""
        return shelf.discover(self._place.artifacts, self._tell_broken)

    def _tell_broken(self, sentence: str) -> None:
        """A damaged artifact is told of once, not at each look."""
        if sentence not in self._told:
            self._told.add(sentence)
            self._bus.publish(Notice(text=sentence, level="warning"))

    def find(self, name: str | None) -> Artifact:
        """An artifact by name, part of a name, or path; without a name the newest. Raises NotFound, AmbiguousName."""
        everything = self.artifacts()
        if name:
            return shelf.find(name, everything)
        if not everything:
            raise NotFound("There is no artifact yet.", "`lqmf quantize demo` makes one.")
        return everything[0]

    def delete(self, artifact: Artifact) -> None:
        """Hide an artifact in one step, then remove it; its record stays. Raises LqmfError."""
        for path in shelf.paths(artifact):
            workspace.remove(path)
        with contextlib.suppress(NotFound):  # a file that someone dropped there was never recorded
            self._memory.forget(artifact.name)

    def interrupted(self) -> list[dict[str, Any]]:
        """Rows of jobs whose process is gone; what they left half-made is removed, what they finished is recorded."""
        rows = self._memory.interrupted_jobs()
        for row in rows:
            workspace.remove_leftovers(self._place.artifacts, row["id"])
        if rows:
            self._memory.rebuild((a, _manifest(a)) for a in self.artifacts() if not a.foreign)
        return rows

    async def resume(self, job: str | None, ask: Ask) -> Quantized:
        """Go on with an interrupted, failed or cancelled job: what was downloaded or made stays, the rest is redone."""
        self.interrupted()  # so that what a killed process left running counts as unfinished
        row = self._memory.job(job) if job else self._last_unfinished()
        if row["kind"] != "quantize":
            raise UsageError(f"{row['id']} was a {row['kind']}, which is done anew.", f"`{anew(row)}`")
        if row in self._memory.running_jobs():
            raise UsageError(f"{row['id']} is running, in process {row['owner_pid']}.", "`lqmf cancel` ends it.")
        plan = from_json(QuantizationPlan, row["plan"])
        attempt = int(row["attempts"] or 1) + 1
        if artifact := self._made_by(plan.id):
            await self._finish_test(row["id"], artifact, plan.test, attempt)
        else:
            info = await self._pinned(plan, ask)
            with self._work_folder(info.ref, info.commit) as folder:
                artifact = await self._carry_out(self._work(row["id"], plan, info, folder, first_attempt=attempt))
        artifact = self._fresh(artifact)
        return Quantized((row["id"],), (artifact,), (self.feedback(artifact),))

    async def _pinned(self, plan: QuantizationPlan, ask: Ask) -> ModelInfo:
        """What is known of a plan's model at the commit that the plan was made for."""
        pinned = dataclasses.replace(plan.model, revision=plan.commit or plan.model.revision)
        return dataclasses.replace(await self._planning.inspect(pinned, ask), ref=plan.model)

    async def _finish_test(self, job: str, artifact: Artifact, depth: str, attempt: int) -> None:
        """The artifact was already whole: only its test is still owed."""
        with self._executor.recorded(job) as result:
            self._bus.publish(JobStarted(job=job, kind="quantize", title=artifact.name, attempt=attempt))
            result["artifact"] = artifact.name
            if depth != "none":
                await self._measure_against_source(job, artifact, depth)

    def _made_by(self, plan: str) -> Artifact | None:
        made = (a for a in self.artifacts() if not a.foreign)
        return next((a for a in made if _manifest(a).plan.get("id") == plan), None)

    def _last_unfinished(self) -> dict[str, Any]:
        made = self._memory.list_records(status="ok")
        for row in self._memory.list_records(status="failed"):
            if row["job_kind"] == "quantize" and not any(_supersedes(artifact, row) for artifact in made):
                return self._memory.job(row["id"])
        raise NotFound("There is nothing to resume.", "`lqmf list` shows what was done.")

    # ------------------------------------------------------------ demo

    async def complete(self, artifact: Artifact, prompt: str, max_tokens: int = 40) -> str:
        """What an artifact goes on to say, greedily, from a worker."""
        job = new_id()
        params = {"artifact": artifact.path, "prompt": prompt, "sampling": {"max_tokens": max_tokens}}
        result = await self._runner.run(Task(job, "generate", params, self._executor.log(job)), self._bus.publish)
        return str(result["text"])


def _known_as(artifact: Artifact) -> str:
    """What the store calls it: two files of other people's may have one name."""
    return artifact.path if artifact.foreign else artifact.name


def _manifest(artifact: Artifact) -> Manifest:
    return shelf.manifest(Path(artifact.path))


def work_key(model: ModelRef, commit: str | None) -> str:
    """What names the work on exactly these files: a commit, or of a local folder its files as they are now."""
    seen = [model.kind, model.id, commit, VERSION]
    if model.kind == "local":
        seen.append(model.path)
        for file in sorted(Path(model.path or "").iterdir()):
            status = file.stat()
            seen.append(f"{file.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def anew(job: Mapping[str, Any]) -> str:
    """The command that does a job again which `resume` does not go on with."""
    name = shlex.quote(job["title"])
    own = {"rebuild": "lqmf rebuild NAME", "layers": f"lqmf report {name} --layers"}
    return own.get(job["kind"]) or f"lqmf {'benchmark' if job['kind'] == 'benchmark' else 'test'} {name}"


def _supersedes(artifact: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
    """Whether what an unfinished job was to make has been made since."""
    same = all(artifact[name] == job[name] for name in ("model", "method", "type"))
    return bool(same and artifact["at"] > job["at"])
