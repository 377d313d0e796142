"""resume: go on with a job that was interrupted, failed or was cancelled."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.artifacts import shelf
from lqmf.errors import NotFound, UsageError
from lqmf.events import JobStarted
from lqmf.jobs.journal import work_folder
from lqmf.operations.closing import closing
from lqmf.operations.quantize import Quantized, quantized
from lqmf.records import Artifact, QuantizationPlan, Request, from_json

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


async def run(app: App, request: Request, ask: Ask) -> Quantized:
    """Go on with the job that is named, without a name the latest: what was downloaded or made stays, the rest is
    redone. Raises LqmfError."""
    job = request.job
    interrupted(app)  # so that what a killed process left running counts as unfinished
    row = app.memory.job(job) if job else _last_unfinished(app)
    if row["kind"] != "quantize":
        raise UsageError(f"{row['id']} was a {row['kind']}, which is done anew.", f"`{anew(row)}`")
    if row in app.memory.running_jobs():
        raise UsageError(f"{row['id']} is running, in process {row['owner_pid']}.", "`lqmf cancel` ends it.")
    plan = from_json(QuantizationPlan, row["plan"])
    attempt = int(row["attempts"] or 1) + 1
    if artifact := _made_by(app, plan.id):
        await _finish_test(app, row["id"], artifact, plan.test, attempt)
    else:
        artifact = await _make(app, row["id"], plan, attempt, ask)
    artifact = app.shelf.find(artifact.path)
    return quantized((artifact,), (row["id"],), closing(app, artifact))


def interrupted(app: App) -> list[dict[str, Any]]:
    """Return rows of jobs whose process is gone; what they left half-made is removed, what they finished is
    recorded."""
    rows = app.memory.interrupted_jobs()
    for row in rows:
        workspace.remove_leftovers(app.workspace.artifacts, row["id"])
    if rows:
        artifacts = app.shelf.artifacts()
        app.memory.rebuild((one, manifest) for one in artifacts if (manifest := shelf.manifest_of(one)))
    return rows


def anew(job: Mapping[str, Any]) -> str:
    """Return the command that does a job again which `resume` does not go on with."""
    name = shlex.quote(job["title"])
    own = {
        "rebuild": "lqmf rebuild NAME",
        "publish": f"lqmf publish NAME --to {name}",
        "layers": f"lqmf report {name} --layers",
    }
    return own.get(job["kind"]) or f"lqmf {'benchmark' if job['kind'] == 'benchmark' else 'test'} {name}"


async def _make(app: App, job: str, plan: QuantizationPlan, attempt: int, ask: Ask) -> Artifact:
    info = await app.planning.pinned(plan, ask)
    with work_folder(app.workspace, info.ref, info.commit) as folder:
        made = await app.pipeline.carry_out(app.pipeline.work(job, plan, info, folder, first_attempt=attempt))
    assert made is not None, "only a rebuild is refused"
    return made


async def _finish_test(app: App, job: str, artifact: Artifact, depth: str, attempt: int) -> None:
    """Do what is still owed for an artifact that is whole already: its test."""
    context = app.pipeline.context(job)
    with app.executor.recorded(job) as result:
        context.emit(JobStarted(job=job, kind="quantize", title=artifact.name, attempt=attempt))
        result["artifact"] = artifact.name
        if depth != "none":
            await app.pipeline.measure_against_base(context, artifact, depth)


def _made_by(app: App, plan: str) -> Artifact | None:
    for artifact in app.shelf.artifacts():
        manifest = shelf.manifest_of(artifact)
        if manifest and manifest.plan.get("id") == plan:
            return artifact
    return None


def _last_unfinished(app: App) -> dict[str, Any]:
    made = app.memory.list_records(status="ok")
    for row in app.memory.list_records(status="failed"):
        if row["job_kind"] == "quantize" and not any(_supersedes(artifact, row) for artifact in made):
            return app.memory.job(row["id"])
    raise NotFound("There is nothing to resume.", "`lqmf list` shows what was done.")


def _supersedes(artifact: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
    """Return whether what an unfinished job was to make has been made since."""
    same = all(artifact[name] == job[name] for name in ("model", "method", "type"))
    return bool(same and artifact["at"] > job["at"])
