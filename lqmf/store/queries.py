"""Answers questions that take more than one table: those of `list`, `show` and `history`. Reads a Store, changes
nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lqmf.errors import AmbiguousName, NotFound
from lqmf.store.artifacts import iso_time, unix_time
from lqmf.store.base import Row, Store
from lqmf.workspace import nearest

FAILED = ("failed", "cancelled", "interrupted")
LIST = {"artifact": "`lqmf list` shows what there is.", "job": "`lqmf history` shows the latest."}


def artifacts(store: Store) -> list[Row]:
    """Return the rows of the artifacts that were not deleted, newest first."""
    return [row for row in store.find("artifacts") if row["deleted_at"] is None]


def not_found(what: str, name: str, known: Sequence[str]) -> NotFound:
    """Return the error for an unknown name, with the most similar name of those `known`."""
    guess = nearest(name, list(known))
    hint = f"Did you mean '{guess}'? " if guess else ""
    return NotFound(f"There is no {what} called '{name}'.", hint + LIST.get(what, LIST["artifact"]))


# ---------------------------------------------------------------- list


def records(
    store: Store, status: Literal["ok", "failed"] | None, method: str | None, model: str | None, deleted: bool
) -> list[dict[str, Any]]:
    """Return artifacts and jobs that failed or were stopped, newest first; see MemoryAgent.list_records."""
    found: list[dict[str, Any]] = []
    if status != "failed":
        found += [_artifact_record(row) for row in (store.find("artifacts") if deleted else artifacts(store))]
    if status != "ok":
        found += [_job_record(row) for each in FAILED for row in store.find("jobs", {"status": each})]
    wanted = [record for record in found if _about(record, method, model)]
    return sorted(wanted, key=lambda record: float(record["at"]), reverse=True)


def _artifact_record(row: Row) -> dict[str, Any]:
    columns = ("name", "model", "method", "bits", "type", "size_bytes", "source_size_bytes", "compression_ratio")
    return {
        "kind": "artifact",
        "status": "ok" if row["deleted_at"] is None else "deleted",
        **{name: row[name] for name in (*columns, "path", "created_at", "foreign", "receipt", "deleted_at")},
        "present": bool(row["path"]) and Path(row["path"]).exists(),
        "at": unix_time(row["created_at"]),
    }


def _job_record(row: Row) -> dict[str, Any]:
    plan = row["plan"] or {}
    at = row["ended_at"] or row["started_at"] or 0.0
    return {
        "kind": "job",
        "job_kind": row["kind"],
        **{name: row[name] for name in ("id", "title", "status", "model", "method", "stage", "attempts", "error")},
        "bits": plan.get("bits"),
        "type": plan.get("type"),
        "created_at": iso_time(at),
        "at": at,
    }


def _about(record: Mapping[str, Any], method: str | None, model: str | None) -> bool:
    right_method = method is None or (record["method"] or "").casefold() == method.casefold()
    return right_method and (model is None or model.casefold() in (record["model"] or "").casefold())


# ---------------------------------------------------------------- show


def show(store: Store, name: str) -> dict[str, Any]:
    """Return an artifact, a job or a model, by its name or a unique part of it; see MemoryAgent.show. Raises NotFound,
    AmbiguousName."""
    found = _exactly(store, name) or _exactly(store, _one_like(store, name))
    if found is None:
        raise not_found("artifact, job or model", name, ())
    return found


def _exactly(store: Store, name: str) -> dict[str, Any] | None:
    if row := store.get("artifacts", name):
        return {"kind": "artifact", **row, "measurements": _measurements(store, row)} | {
            "benchmarks": benchmarks(store, name),
            "jobs": store.find("jobs", {"artifact": name}),
        }
    if row := store.get("jobs", name):
        attempts = store.find("attempts", {"job": name}, newest_first=False)
        log = store.find("events", {"job": name}, newest_first=False)
        return {**row, "job_kind": row["kind"], "kind": "job", "attempts_made": attempts, "events": log}
    if row := store.get("models", name):
        made_from = store.find("artifacts", {"model": name})
        return {**row, "model_kind": row["kind"], "kind": "model", "artifacts": made_from}
    return None


def _measurements(store: Store, artifact: Row) -> list[Row]:
    """The artifact's measurements, newest first, without those of a deleted artifact that had the same name."""
    made = unix_time(artifact["created_at"])
    return [row for row in store.find("measurements", {"artifact": artifact["name"]}) if row["at"] >= made]


def benchmarks(store: Store, name: str) -> list[Row]:
    """Return the benchmarks of the artifact `name`, newest first, without those of a deleted artifact of that name."""
    artifact = store.get("artifacts", name)
    made = unix_time(artifact["created_at"]) if artifact else 0.0
    return [row for row in store.find("benchmarks", {"artifact": name}) if row["at"] >= made]


def _one_like(store: Store, part: str) -> str:
    """The only name that contains `part`: of an artifact, else of a job, else of a model."""
    known: list[str] = []
    tables = (artifacts(store), store.find("jobs"), store.find("models"))
    for rows in tables:
        names = [str(row.get("name") or row["id"]) for row in rows]
        like = [name for name in names if part and part.casefold() in name.casefold()]
        if len(like) > 1:
            raise AmbiguousName(part, like)
        if like:
            return like[0]
        known += names
    raise not_found("artifact, job or model", part, known)


# ---------------------------------------------------------------- history


def history(store: Store, limit: int | None) -> list[dict[str, Any]]:
    """Return the last turns and jobs, at most `limit`, in order of time, the newest last; `at` is when each began."""
    turns = [{"kind": "turn", **row} for row in store.find("turns", limit=limit)]
    jobs = [
        {**row, "job_kind": row["kind"], "kind": "job", "at": row["started_at"]}
        for row in store.find("jobs", limit=limit)
    ]
    newest_first = sorted(turns + jobs, key=lambda row: row["at"] or 0.0, reverse=True)[:limit]
    return newest_first[::-1]
