"""Makes the rows of jobs, attempts and events from records and progress events. Opens no store."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from lqmf import events
from lqmf.records import Job, to_json
from lqmf.store.artifacts import model_id
from lqmf.store.base import Row

KEPT = (events.StageStarted, events.StageFinished, events.Notice)  # Progress goes to the log alone


def command(job: Mapping[str, Any]) -> str:
    """Return the command, without `lqmf`, that goes on with a job; for a job that `resume` cannot go on with, the
    command that does it anew."""
    name = shlex.quote(str(job.get("title")))
    if job.get("kind") == "rebuild":
        return f"rebuild {shlex.quote(str(job.get('artifact') or 'NAME'))}"
    own = {
        "quantize": f"resume {job.get('id')}",
        "layers": f"report {name} --layers",
        "benchmark": f"benchmark {name}",
        "publish": f"publish NAME --to {name}",
    }
    return own.get(str(job.get("kind"))) or f"test {name}"


def job_row(job: Job, owner: Row) -> Row:
    """Return a row of `jobs`; `owner` marks the process that runs the job."""
    plan = job.plan
    return {**to_json(job), "model": model_id(plan), "method": plan.get("method"), **owner}


def started_row(event: events.JobStarted, owner: Row) -> Row:
    """Return the columns of a job's row that a JobStarted changes."""
    return {"kind": event.kind, "title": event.title, "status": "running", "attempts": event.attempt} | {
        "ended_at": None, "error": None, **owner,
    }  # fmt: skip


def finished_row(event: events.JobFinished) -> Row:
    """Return the columns of a job's row that a JobFinished changes."""
    changes: Row = {"status": event.status, "ended_at": event.at, "seconds": event.seconds}
    changes |= {"error": to_json(event.error), "result": to_json(event.result)}
    name = artifact_name(event.result or {})
    return changes | ({"artifact": name} if name else {})


def artifact_name(result: Mapping[str, Any]) -> str | None:
    """Return the artifact's name in a job's result: of `artifact`, or of the first of `artifacts`, a record or a name;
    None where the result has neither."""
    first = result.get("artifact") or next(iter(result.get("artifacts") or ()), None)
    found = first.get("name") if isinstance(first, Mapping) else first
    return found if isinstance(found, str) else None


def attempt_row(event: events.JobStarted) -> Row:
    """Return a new row of `attempts`."""
    return {"job": event.job, "attempt": event.attempt, "status": "running", "started_at": event.at}


def event_row(event: events.Event) -> Row:
    """Return a row of `events`; a stage's title goes into the column `text`."""
    fields = event.to_json()
    if "title" in fields:
        fields["text"] = fields.pop("title")
    return fields
