"""The history of the SQLite schema: numbered steps, each with its reason. Does not know what rows mean.

A released step is never edited: a database keeps the number of its steps in `user_version`, and is taken through the
rest when it is opened. The last step leaves the columns of `tables.COLUMNS`; a test checks that both agree. To change
the schema, add a step at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lqmf.errors import StoreError
from lqmf.store.sqlite_library import Database


@dataclass(frozen=True)
class Migration:
    """A step: its change to a database, and the reason for it."""

    why: str
    apply: Callable[[Database], None]


def _numbered(db: Database, table: str, **columns: type) -> None:
    db.create_table(table, {"id": int, **columns, "_extra": str}, pk="id")


def _keyed(db: Database, table: str, key: str, **columns: type) -> None:
    db.create_table(table, {key: str, **columns, "_extra": str}, pk=key)


def _tables(db: Database) -> None:
    _keyed(
        db, "models", "id", at=float, kind=str, commit=str, architecture=str, model_type=str, parameters=int,
        weights_bytes=int, dtype=str, context_length=int, license=str, access=str, info=str,
    )  # fmt: skip
    _keyed(db, "plans", "id", at=float, model=str, method=str, bits=int, type=str, device=str, plan=str)
    _keyed(
        db, "jobs", "id", kind=str, title=str, status=str, stage=str, model=str, method=str, artifact=str,
        attempts=int, started_at=float, ended_at=float, seconds=float, plan=str, error=str, result=str,
    )  # fmt: skip
    _numbered(
        db, "attempts", job=str, attempt=int, status=str, started_at=float, ended_at=float, retry_in_seconds=float,
        error=str,
    )  # fmt: skip
    _numbered(db, "events", job=str, at=float, event=str, stage=str, text=str, level=str, seconds=float)
    _keyed(
        db, "artifacts", "name", path=str, model=str, commit=str, method=str, bits=int, type=str, version=int,
        size_bytes=int, source_size_bytes=int, compression_ratio=float, created_at=str, foreign=int, plan_id=str,
        deleted_at=float, receipt=str, plan=str, versions=str,
    )  # fmt: skip
    _numbered(db, "measurements", artifact=str, at=float, benchmark=str, receipt=str)
    _numbered(
        db, "turns", session=str, at=float, text=str, intent=str, confidence=float, reason=str, status=str, slots=str
    )


def _indexes(db: Database) -> None:
    for table, column in (
        ("jobs", "status"),
        ("attempts", "job"),
        ("events", "job"),
        ("artifacts", "model"),
        ("measurements", "artifact"),
        ("turns", "session"),
    ):
        db[table].create_index([column])


def _owners(db: Database) -> None:
    db["jobs"].add_column("owner_pid", int)
    db["jobs"].add_column("owner_started", float)


MEASURES = {  # column -> its place in a receipt
    "perplexity": ("$.perplexity", float),
    "kl_mean": ("$.kl_divergence.mean", float),
    "top1_agreement": ("$.top1_agreement", float),
    "prompt_per_second": ("$.tokens_per_second.prompt", float),
    "generation_per_second": ("$.tokens_per_second.generation", float),
    "tokens_evaluated": ("$.tokens_evaluated", int),
}


def _measures(db: Database) -> None:
    for column, (_place, kind) in MEASURES.items():
        db["measurements"].add_column(column, kind)
    taken = ", ".join(f"{column} = json_extract(receipt, '{place}')" for column, (place, _kind) in MEASURES.items())
    db.execute(f"UPDATE measurements SET {taken} WHERE receipt IS NOT NULL")


def _predictions(db: Database) -> None:
    _numbered(
        db, "predictions", at=float, job=str, artifact=str, model=str, architecture=str, method=str, type=str,
        device=str, machine=str, quantity=str, predicted=float, uncorrected=float, measured=float,
    )  # fmt: skip
    db["predictions"].create_index(["quantity"])


def _llm_calls(db: Database) -> None:
    _numbered(
        db, "llm_calls", at=float, day=str, provider=str, model=str, purpose=str, outcome=str, seconds=float,
        input_tokens=int, output_tokens=int, characters=int, cost=float, prompt=str,
    )  # fmt: skip
    db["llm_calls"].create_index(["day"])


def _benchmarks(db: Database) -> None:
    _numbered(
        db, "benchmarks", at=float, artifact=str, job=str, path=str, depth=str, quality=float, coherence=float,
        generation_per_second=float, benchmark=str,
    )  # fmt: skip
    db["benchmarks"].create_index(["artifact"])


def _later_plans(db: Database) -> None:
    db["jobs"].add_column("later_plans", str)


MIGRATIONS: tuple[Migration, ...] = (
    Migration("The tables that every record goes to.", _tables),
    Migration("`show` and `stats` ask for one job's events, one artifact's measurements: a scan grew slow.", _indexes),
    Migration("A job that was killed is told from one that runs by whether its process still lives.", _owners),
    Migration(
        "The numbers of a receipt that are compared have columns now: inside JSON they cannot be sorted or indexed.",
        _measures,
    ),
    Migration("What was predicted stands beside what was measured, so that later predictions learn.", _predictions),
    Migration("Calls to providers are kept: what they took counts against the day's budget.", _llm_calls),
    Migration("Benchmarks are kept apart from tests: a receipt is an artifact's newest test.", _benchmarks),
    Migration("A list of types is one job with parts: who goes on with it makes what was to come.", _later_plans),
)


def version(db: Database) -> int:
    """Return the number of migrations that a database has had; 0 for a new database."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: Database, steps: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Apply the steps that a database has not had, all or none.

    Raises StoreError for a database that a newer LQMF has written.
    """
    if version(db) == len(steps):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        done = version(db)  # again, now that no other process can write
        if done > len(steps):
            raise StoreError(
                f"The database was written by a newer LQMF: its schema is number {done}, "
                f"and this version knows {len(steps)}.",
                "Update LQMF, or choose another folder with --workspace.",
            )
        for step in steps[done:]:
            step.apply(db)
        db.execute(f"PRAGMA user_version = {len(steps)}")
        db.execute("COMMIT")
    finally:
        if db.conn.in_transaction:
            db.execute("ROLLBACK")
