"""The MemoryAgent: records jobs, artifacts, measurements and dialogues, and answers questions about them. The only user
of the store.

Knows what the rows mean; knows nothing of SQLite or JSON, and shows nothing. The store is opened on first use. All text
is redacted before it is stored.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from lqmf import events
from lqmf.artifacts.shelf import OnDisk, manifests_in
from lqmf.errors import StoreError
from lqmf.records import Artifact, Decision, Job, Manifest, ModelInfo, QuantizationPlan, Receipt, to_json
from lqmf.store import jobs as job_rows
from lqmf.store import owners, queries
from lqmf.store.artifacts import artifact_row, benchmark_row, iso_time, measurement_row, model_row, plan_row, unix_time
from lqmf.store.base import Row, Store
from lqmf.store.sound import SoundStore

LARGEST = 2**63 - 1  # an integer beyond it is no number of anything, and breaks readers of JSON
OpenStore = Callable[[Callable[[str], None]], Store]  # open_store with its backend and folder given


class MemoryAgent:
    """Keeps jobs, artifacts, measurements and dialogue turns, and answers questions about them.

    `open_store` is called on first use with the function that hears of a corrupt store; `artifacts` is the folder
    that such a store is filled from again. `notify` takes sentences for people. `may_have_running` may say cheaply,
    without opening the store, that no job is marked as running.
    """

    def __init__(
        self,
        open_store: OpenStore,
        artifacts: Path,
        *,
        redact: Callable[[str], str] = lambda text: text,
        notify: Callable[[str], None] = lambda text: None,
        may_have_running: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._open_store = open_store
        self._artifacts = artifacts
        self._redact = redact
        self._notify = notify
        self._may_have_running = may_have_running
        self._clock = clock
        self._opened: SoundStore | None = None
        self._recovery = ""
        self._complained = False

    # ------------------------------------------------------------ the store

    @property
    def _store(self) -> SoundStore:
        if self._opened is None:
            self._opened = SoundStore(self._open_store(self._recovered), self._notify)
            if self._recovery or not self._opened.find("artifacts", limit=1):
                self._refill()
        return self._opened

    def _recovered(self, notice: str) -> None:
        self._recovery = notice
        if self._opened is not None:
            self._refill()

    def _refill(self) -> None:
        """Read the manifests on disk into a store that has no artifacts: it is new, or its predecessor was corrupt."""
        notice, self._recovery = self._recovery, ""
        unreadable: list[Path] = []
        count = self.rebuild(manifests_in(self._artifacts, unreadable.append))
        if notice:
            found = "1 artifact was read back from its manifest" if count == 1 else f"{count} artifacts were read back"
            self._notify(f"{notice} {found}.")
        for path in unreadable:
            self._notify(f"{path} is not a manifest that can be read: its artifact is not listed.")

    def _mend_artifacts(self) -> None:
        """Read the manifests of artifacts whose records cannot be read."""
        store = self._store
        store.find("artifacts")
        if any(table == "artifacts" for table, _ in store.left_out):
            self.rebuild(manifests_in(self._artifacts, lambda path: None))

    def close(self) -> None:
        """Close the store, if it was opened."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _put(self, table: str, row: Mapping[str, Any]) -> None:
        self._store.insert(table, self._clean(row))

    def _change(self, table: str, key: str | int, changes: Mapping[str, Any]) -> None:
        self._store.update(table, key, self._clean(changes))

    def _clean(self, value: Any) -> Any:
        """Return the value with every text in it redacted, and None for each integer that not every reader can read."""
        if isinstance(value, str):
            return self._redact(value)
        if isinstance(value, Mapping):
            return {name: self._clean(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(each) for each in value]
        return None if isinstance(value, int) and abs(value) > LARGEST else value

    # ------------------------------------------------------------ what happened

    def on_event(self, event: events.Event) -> None:
        """Record a job's event; this method is a subscriber of the bus."""
        self._tolerantly(lambda: self._record(event))

    def _tolerantly(self, write: Callable[[], None]) -> None:
        """Write a record. A store that fails is told of once; it stops no job and hides no error."""
        try:
            write()
        except StoreError as error:
            if not self._complained:
                self._complained = True
                self._notify(f"This is not being recorded. {error.message} {error.remedy}")

    def _record(self, event: events.Event) -> None:
        match event:
            case events.JobStarted():
                self._job_started(event)
            case events.AttemptFailed():
                self._attempt_failed(event)
            case events.JobFinished():
                self._job_finished(event)
            case _ if isinstance(event, job_rows.KEPT):
                self._put("events", job_rows.event_row(event))
                if isinstance(event, events.StageStarted) and self._store.get("jobs", event.job):
                    self._change("jobs", event.job, {"stage": event.stage})

    def _job_started(self, event: events.JobStarted) -> None:
        changes = job_rows.started_row(event, owners.this_process())
        if self._store.get("jobs", event.job):
            self._change("jobs", event.job, changes)
        else:
            self._put("jobs", {"id": event.job, "started_at": event.at, **changes})
        self._put("attempts", job_rows.attempt_row(event))

    def _attempt_failed(self, event: events.AttemptFailed) -> None:
        end = {"status": "failed", "ended_at": event.at, "error": to_json(event.error)}
        self._end_attempt(event.job, event.attempt, {**end, "retry_in_seconds": event.retry_in_seconds})

    def _end_attempt(self, job: str, attempt: int, end: Row) -> None:
        latest = self._store.find("attempts", {"job": job, "attempt": attempt}, limit=1)
        if latest and latest[0]["ended_at"] is None:
            self._change("attempts", latest[0]["id"], end)
        elif not latest:
            self._put("attempts", {"job": job, "attempt": attempt, **end})

    def _job_finished(self, event: events.JobFinished) -> None:
        changes = job_rows.finished_row(event)
        if self._store.get("jobs", event.job):
            self._change("jobs", event.job, changes)
        else:
            self._put("jobs", {"id": event.job, "started_at": event.at - event.seconds, **changes})
        self._end_open_attempts(event.job, {k: changes[k] for k in ("status", "ended_at", "error")})

    def _end_open_attempts(self, job: str, end: Row) -> None:
        for attempt in self._store.find("attempts", {"job": job, "status": "running"}):
            self._change("attempts", attempt["id"], end)

    def start_job(self, job: Job) -> None:
        """Record a job as this process's own, before its first event."""
        self._tolerantly(lambda: self._put("jobs", job_rows.job_row(job, owners.this_process())))

    def remember_turn(self, session: str, text: str, decision: Decision, status: str) -> None:
        """Record one line of the dialogue, its decision, and how it ended."""
        row = {"session": session, "at": self._clock(), "text": text, "status": status, **to_json(decision)}
        self._tolerantly(lambda: self._put("turns", row))

    def remember_model(self, info: ModelInfo) -> None:
        """Record the metadata of a model; a second record replaces the first."""
        self._tolerantly(lambda: self._put("models", model_row(info, self._clock())))

    def remember_plan(self, plan: QuantizationPlan) -> None:
        """Record a plan, with its choices and their reasons."""
        self._tolerantly(lambda: self._put("plans", plan_row(to_json(plan), self._clock())))

    def remember_artifact(self, artifact: Artifact, manifest: Manifest | None = None) -> None:
        """Record an artifact. A deleted one of the same name keeps its record, under its name and time of deletion."""
        earlier = self._store.get("artifacts", artifact.name)
        if earlier and earlier["deleted_at"] is not None:
            self._put("artifacts", {**earlier, "name": f"{artifact.name}@{iso_time(earlier['deleted_at'])}"})
        self._put("artifacts", artifact_row(artifact, manifest))

    def remember_receipt(
        self, name: str, receipt: Receipt | Mapping[str, Any], benchmark: Path | str | None = None
    ) -> None:
        """Record a measurement; `benchmark` is the file that holds it in full. The artifact shows its newest
        receipt."""
        document = to_json(receipt)
        path = None if benchmark is None else str(benchmark)
        self._put("measurements", measurement_row(name, document, path, self._clock()))
        if self._store.get("artifacts", name):
            self._change("artifacts", name, {"receipt": document})

    def remember_benchmark(self, name: str, job: str, path: Path | str, benchmark: Mapping[str, Any]) -> None:
        """Record a benchmark; `path` is the file that holds it."""
        self._tolerantly(lambda: self._put("benchmarks", benchmark_row(name, job, str(path), benchmark, self._clock())))

    def remember_predictions(self, job: str, artifact: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Record predictions with their measurements, one row for each quantity (`lqmf.fit.predictions.rows`). The rows
        outlive the artifact."""
        about = {"job": job, "artifact": artifact, "at": self._clock()}
        for row in rows:
            self._tolerantly(functools.partial(self._put, "predictions", {**row, **about}))

    def remember_call(self, row: Row) -> None:
        """Record a call to an LLM provider (`lqmf.store.calls.call_row`)."""
        self._tolerantly(lambda: self._put("llm_calls", row))

    def forget(self, name: str) -> None:
        """Mark an artifact as deleted; its record stays. Raises NotFound."""
        row = self._store.get("artifacts", name)
        if row is None or row["deleted_at"] is not None:
            raise queries.not_found("artifact", name, self.artifact_names())
        self._change("artifacts", name, {"deleted_at": self._clock()})

    def rebuild(self, found: Iterable[OnDisk]) -> int:
        """Record models, plans, artifacts and measurements that lie on disk and are not recorded yet; return the number
        of artifacts. `found` are the artifacts that `lqmf.artifacts.shelf.manifests_in` yields."""
        count = 0
        for artifact, manifest in found:
            known = self._store.get("artifacts", artifact.name)
            if known and known["deleted_at"] is None and known["created_at"] == artifact.created_at:
                continue
            self._recall(artifact, manifest)
            count += 1
        return count

    def _recall(self, artifact: Artifact, manifest: Manifest) -> None:
        made = unix_time(manifest.created_at)
        model = manifest.model
        if not self._store.get("models", model.id):
            self._put("models", {"id": model.id, "kind": model.kind, "commit": manifest.commit, "at": made})
        if isinstance(manifest.plan.get("id"), str) and not self._store.get("plans", manifest.plan["id"]):
            self._put("plans", plan_row(manifest.plan, made))
        self.remember_artifact(artifact, manifest)
        if artifact.receipt is not None:
            self._put("measurements", measurement_row(artifact.name, artifact.receipt, None, made))

    # ------------------------------------------------------------ questions

    def list_records(
        self,
        status: Literal["ok", "failed"] | None = None,
        method: str | None = None,
        model: str | None = None,
        limit: int | None = None,
        deleted: bool = False,
    ) -> list[dict[str, Any]]:
        """Return the artifacts ("ok") and the jobs that failed, were cancelled or interrupted ("failed"), newest first.

        `model` matches any part of a model's id. With `deleted`, deleted artifacts are listed too.
        """
        self._mend_artifacts()
        return queries.records(self._store, status, method, model, deleted)[:limit]

    def show(self, name: str) -> dict[str, Any]:
        """Return the record of an artifact (by name), a job or a model (by id); a unique part of a name will do.

        Raises NotFound with the nearest name, AmbiguousName when several match.
        """
        self._mend_artifacts()
        return queries.show(self._store, name)

    def history(self, limit: int | None = 50) -> list[dict[str, Any]]:
        """Return the last turns and jobs, in order of time, the newest last."""
        return queries.history(self._store, limit)

    def stats(self) -> dict[str, Any]:
        """Return jobs by status, success rate, retries, times by method, bytes saved, methods compared; see
        `summary`."""
        from lqmf.store.statistics import summary

        artifacts = queries.artifacts(self._store)
        return summary(self._store.find("jobs"), artifacts, self._store.find("measurements"))

    def predictions(self, quantity: str | None = None) -> list[Row]:
        """Return predictions with their measurements (of one quantity, or of all), newest first, also of deleted
        artifacts.

        Columns: at, job, artifact, model, architecture, method, type, device, machine, quantity, predicted, uncorrected
        and measured, the last three in the quantity's unit.
        """
        return self._store.find("predictions", {"quantity": quantity} if quantity else None)

    def benchmarks(self, name: str) -> list[Row]:
        """Return the benchmarks of an artifact, newest first; each row's `benchmark` is the whole of it."""
        return queries.benchmarks(self._store, name)

    def llm_calls(self, limit: int | None = None, **where: str) -> list[Row]:
        """Return the calls to LLM providers, newest first; `where` may name a day ("2026-11-25") or a provider."""
        return self._store.find("llm_calls", where, limit=limit)

    def artifact_names(self) -> list[str]:
        """Return the names of the artifacts that were not deleted, newest first."""
        return [row["name"] for row in queries.artifacts(self._store)]

    def model_ids(self) -> list[str]:
        """Return the ids of the models seen, the latest first."""
        return [row["id"] for row in self._store.find("models")]

    def job(self, id: str) -> Row:
        """Return the row of a job. Raises NotFound with the nearest id."""
        row = self._store.get("jobs", id)
        if row is None:
            raise queries.not_found("job", id, [each["id"] for each in self._store.find("jobs", limit=200)])
        return row

    def jobs(self) -> list[Row]:
        """Return the rows of all jobs, newest first."""
        return self._store.find("jobs")

    def last_job(self) -> Row | None:
        """Return the job that was recorded last; None where there is none."""
        return next(iter(self._store.find("jobs", limit=1)), None)

    def running_jobs(self) -> list[Row]:
        """Return the jobs whose process is at work on them now, newest first."""
        return [row for row in self._store.find("jobs", {"status": "running"}) if owners.lives(row)]

    def interrupted_jobs(self) -> list[Row]:
        """Mark as interrupted the jobs that are marked as running and whose process is gone; return them, newest
        first."""
        if self._opened is None and not self._may_have_running():
            return []
        dead = [row for row in self._store.find("jobs", {"status": "running"}) if not owners.lives(row)]
        return [self._interrupt(row) for row in dead]

    def _interrupt(self, job: Row) -> Row:
        """Mark a job as interrupted at the time of its last event, or of its start, and return its row."""
        last = self._store.find("events", {"job": job["id"]}, limit=1)
        ended = last[0]["at"] if last else job["started_at"]
        changes = {"status": "interrupted", "ended_at": ended}
        self._change("jobs", job["id"], changes)
        self._end_open_attempts(job["id"], changes)
        return {**job, **changes}
