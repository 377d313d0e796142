"""The rows of jobs, attempts and events, made from records and progress events. Opens no store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lqmf import events
from lqmf.records import Job, to_json
from lqmf.store.artifacts import model_id
from lqmf.store.base import Row

KEPT = (events.StageStarted, events.StageFinished, events.Notice)  # Progress goes to the log alone


def job_row(job: Job, owner: Row) -> Row:
    """A row of `jobs`; `owner` marks the process that drives it."""
    plan = job.plan
    return {**to_json(job), "model": model_id(plan), "method": plan.get("method"), **owner}


def started_row(event: events.JobStarted, owner: Row) -> Row:
    """What a JobStarted changes in its job's row."""
    return {"kind": event.kind, "title": event.title, "status": "running", "attempts": event.attempt} | {
        "ended_at": None, "error": None, **owner,
    }  # fmt: skip


def finished_row(event: events.JobFinished) -> Row:
    """What a JobFinished changes in its job's row."""
    changes: Row = {"status": event.status, "ended_at": event.at, "seconds": event.seconds}
    changes |= {"error": to_json(event.error), "result": to_json(event.result)}
    name = artifact_name(event.result or {})
    return changes | ({"artifact": name} if name else {})


def artifact_name(result: Mapping[str, Any]) -> str | None:
    """The artifact that a job's result tells of: `artifact`, or the first of `artifacts`; a record or a name."""
    first = result.get("artifact") or next(iter(result.get("artifacts") or ()), None)
    found = first.get("name") if isinstance(first, Mapping) else first
    return found if isinstance(found, str) else None


def attempt_row(event: events.JobStarted) -> Row:
    """A new row of `attempts`."""
    return {"job": event.job, "attempt": event.attempt, "status": "running", "started_at": event.at}


def event_row(event: events.Event) -> Row:
    """A row of `events`; a stage's title is its text."""
    fields = event.to_json()
    if "title" in fields:
        fields["text"] = fields.pop("title")
    return fields
