"""Tells which jobs came to nothing, and what to type for each: the one truth of `list`, `disk`, `resume` and the chat's
start. A record that cannot be read is told of, and the rest goes on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.artifacts import shelf
from lqmf.errors import StoreError
from lqmf.jobs.journal import work_key
from lqmf.records import Artifact, InvalidRecord, QuantizationPlan, from_json
from lqmf.store.jobs import command

if TYPE_CHECKING:
    from lqmf.app import App

ENDED_EARLY = ("failed", "cancelled", "interrupted")


@dataclass(frozen=True)
class Unfinished:
    """A job that came to nothing, as the store has it. `plans` are still to be made, each with the artifact of it where
    that is there and only its test is owed; empty where `resume` cannot go on, for which `why` has the reason.
    `command` is what to type; empty where there is nothing to do any more."""

    row: Mapping[str, Any]
    command: str
    plans: tuple[tuple[QuantizationPlan, Artifact | None], ...] = ()
    why: str = ""

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.row["id"])


def settle(app: App) -> None:
    """Mark what was interrupted, where records can be written: who only looks is not kept from it."""
    with contextlib.suppress(StoreError):
        interrupted(app)


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


def unfinished(app: App) -> list[Unfinished]:
    """Return the jobs that came to nothing, newest first, and those whose list of types has parts that no job has begun
    with."""
    rows = app.memory.jobs()
    begun = {str((row["plan"] or {}).get("id")) for row in rows}
    made, records = _made(app), app.memory.list_records(status="ok")
    return [
        _judged(row, made, records)
        for row in rows
        if row["status"] in ENDED_EARLY or (row["status"] == "done" and _never_begun(row, begun))
    ]


def judged(app: App, row: Mapping[str, Any]) -> Unfinished:
    """Return what is still to be done of one job, whatever its status."""
    return _judged(row, _made(app), ())


def _judged(row: Mapping[str, Any], made: Mapping[str, Artifact], records: Sequence[Mapping[str, Any]]) -> Unfinished:
    """Return what is left of a job; what one of `records` has been made for since, is not."""
    if row["kind"] != "quantize":
        return Unfinished(row, f"lqmf {command(row)}", why=f"a {row['kind']} is done anew")
    try:
        plans = list(_plans(row))
    except InvalidRecord as error:
        anew = f"lqmf quantize {row['model']}" if row["model"] else ""
        return Unfinished(row, anew, why=f"the record of its plan is damaged: {error}")
    left = tuple(
        (plan, made.get(plan.id))
        for place, plan in enumerate(plans)
        if not any(_supersedes(record, plan, row) for record in records)
        and (plan.id not in made or (place == 0 and row["status"] != "done"))
    )
    if not left:
        return Unfinished(row, "", why="it has been made since" if row["status"] != "done" else "it is done")
    return Unfinished(row, f"lqmf {command(row)}", left)


def _plans(row: Mapping[str, Any]) -> Iterator[QuantizationPlan]:
    """Yield the job's plan and those that come after it. Raises InvalidRecord."""
    for document in (row["plan"], *(row["later_plans"] or ())):
        yield from_json(QuantizationPlan, document)


def _never_begun(row: Mapping[str, Any], begun: set[str]) -> bool:
    later = row["later_plans"] or ()
    return any(isinstance(plan, Mapping) and str(plan.get("id")) not in begun for plan in later)


def _made(app: App) -> dict[str, Artifact]:
    """Return the artifacts by the id of the plan that they were made by."""
    found: dict[str, Artifact] = {}
    for artifact in app.shelf.artifacts():
        manifest = shelf.manifest_of(artifact)
        if manifest is not None:
            found[str(manifest.plan.get("id"))] = artifact
    return found


def _supersedes(artifact: Mapping[str, Any], plan: QuantizationPlan, job: Mapping[str, Any]) -> bool:
    """Return whether what an unfinished job was to make by `plan` has been made since."""
    same = (artifact["model"], artifact["method"], artifact["type"]) == (plan.model.id, plan.method, plan.type)
    return bool(same and artifact["at"] > (job["ended_at"] or job["started_at"] or 0.0))


def work_keys(jobs: list[Unfinished]) -> dict[str, Unfinished]:
    """Return the jobs by the key of the folder where they keep files made on the way; the newest of each key."""
    found: dict[str, Unfinished] = {}
    for job in jobs:
        try:
            plan = from_json(QuantizationPlan, job.row["plan"])
            key = work_key(plan.model, plan.commit)
        except (InvalidRecord, OSError):  # the folder of a model that is gone has no key any more
            continue
        found.setdefault(f"{key}-again" if job.row["kind"] == "rebuild" else key, job)
    return found
