"""resume: go on with a job that was interrupted, failed or was cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lqmf.errors import NotFound, UsageError
from lqmf.events import JobStarted
from lqmf.jobs.journal import new_id, work_folder
from lqmf.operations.closing import closing
from lqmf.operations.quantize import Quantized, joined, quantized
from lqmf.operations.unfinished import Unfinished, interrupted, judged, unfinished
from lqmf.quality.measures import unmeasured
from lqmf.records import Artifact, QuantizationPlan, Request, to_json

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


async def run(app: App, request: Request, ask: Ask) -> Quantized:
    """Go on with the job that is named, without a name the latest, and make the parts of it that are still to come:
    what was downloaded or made stays, the rest is redone. Raises LqmfError."""
    interrupted(app)  # so that what a killed process left running counts as unfinished
    job = _named(app, request.job) if request.job else _latest(app)
    made = await _go_on(app, job, ask)
    artifacts = tuple(app.shelf.find(artifact.path) for _, artifact in made)
    return quantized(artifacts, tuple(id for id, _ in made), joined([closing(app, one) for one in artifacts]))


def _named(app: App, id: str) -> Unfinished:
    """Return what is left of the job `id`. Raises UsageError where there is nothing to go on with."""
    row = app.memory.job(id)
    if row in app.memory.running_jobs():
        raise UsageError(f"{row['id']} is running, in process {row['owner_pid']}.", "`lqmf cancel` ends it.")
    job = judged(app, row)
    if job.plans:
        return job
    if row["kind"] != "quantize":
        raise UsageError(f"{job.id} was a {row['kind']}, which is done anew.", f"`{job.command}`")
    raise UsageError(f"{job.id} cannot be resumed: {job.why}.", _instead(job))


def _latest(app: App) -> Unfinished:
    """Return the latest job that can go on. Raises NotFound, which says what to type for what cannot."""
    jobs = unfinished(app)
    for job in jobs:
        if job.plans:
            return job
    told = next((job for job in jobs if job.command), None)
    if told is None:
        raise NotFound("There is nothing to resume.", "`lqmf list` shows what was done.")
    why = f"{told.row['title']} ({told.id}) {told.row['status']}, and {told.why}."
    raise NotFound(f"There is nothing that can go on. {why}", f"`{told.command}` does it anew.")


def _instead(job: Unfinished) -> str:
    return f"`{job.command}` makes it anew." if job.command else "`lqmf list` shows what was done."


async def _go_on(app: App, job: Unfinished, ask: Ask) -> list[tuple[str, Artifact]]:
    """Return the artifacts that were still to be made, each with its job."""
    made = []
    attempt = int(job.row["attempts"] or 1) + 1
    plans, own = job.plans, (job.row["plan"] or {}).get("id")
    info = await app.planning.pinned(plans[0][0], ask)
    with work_folder(app.workspace, info.ref, info.commit) as folder:
        for place, (plan, artifact) in enumerate(plans):
            id = job.id if plan.id == own else _job_of(app, plan) or new_id()
            if artifact is not None:
                await _finish_test(app, id, artifact, plan.test, attempt)
            else:
                later = tuple(each for each, there in plans[place + 1 :] if there is None)
                first = attempt if id == job.id else 1
                work = app.pipeline.work(id, plan, info, folder, first_attempt=first, later_plans=later)
                artifact = await app.pipeline.carry_out(work)
                assert artifact is not None, "only a rebuild is refused"
            made.append((id, artifact))
    return made


def _job_of(app: App, plan: QuantizationPlan) -> str | None:
    """Return the job that began with `plan`; None where none did."""
    rows: list[dict[str, Any]] = app.memory.jobs()
    return next((row["id"] for row in rows if (row["plan"] or {}).get("id") == plan.id), None)


async def _finish_test(app: App, job: str, artifact: Artifact, depth: str, attempt: int) -> None:
    """Do what is still owed for an artifact that is whole already: its test."""
    context = app.pipeline.context(job)
    with app.executor.recorded(job, "`lqmf resume` tries again.") as result:
        context.emit(JobStarted(job=job, kind="quantize", title=artifact.name, attempt=attempt))
        result["artifact"] = artifact.name
        if depth != "none":
            receipt = await app.pipeline.measure_against_base(context, artifact, depth)
            result["fault"] = unmeasured(to_json(receipt))
