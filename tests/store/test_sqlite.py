"""The SQLite backend's own promises: old databases open, newer ones are refused, corrupt ones are set aside."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from lqmf.errors import StoreError
from lqmf.store.migrations import MIGRATIONS, migrate
from lqmf.store.open import may_have_running, open_store
from lqmf.store.sqlite import SqliteStore
from lqmf.store.tables import COLUMNS

RECEIPT = {
    "perplexity": 8.5, "kl_divergence": {"mean": 0.0023}, "top1_agreement": 0.96, "tokens_evaluated": 4096,
    "tokens_per_second": {"prompt": 3000.5, "generation": 1020.25},
}  # fmt: skip


def write_with_first_migrations(path: Path, count: int) -> None:
    """A database as the LQMF of that time left it: its tables, and a row in each of three."""
    connection = sqlite3.connect(path, isolation_level=None)
    db = Database(connection)
    db.execute("PRAGMA journal_mode = WAL")
    migrate(db, MIGRATIONS[:count])
    owner = {"owner_pid": 4_000_000, "owner_started": 1.0} if count >= 3 else {}
    db["jobs"].insert(
        {"id": "old", "status": "running", "plan": json.dumps({"bits": 4}), "_extra": '{"odd": 1}'} | owner
    )
    db["measurements"].insert({"artifact": "a", "at": 5.0, "receipt": json.dumps(RECEIPT)})
    db["measurements"].insert({"artifact": "b", "at": 6.0, "receipt": None})
    db["artifacts"].insert({"name": "a", "foreign": 1, "bits": 4, "versions": '{"lqmf": "0"}'})
    connection.close()


@pytest.mark.parametrize("count", range(1, len(MIGRATIONS) + 1))
def test_a_database_of_each_earlier_migration_opens_with_its_rows(tmp_path: Path, count: int) -> None:
    write_with_first_migrations(tmp_path / "lqmf.db", count)
    store = open_store("sqlite", tmp_path, pytest.fail)
    job, artifact = store.get("jobs", "old"), store.get("artifacts", "a")
    assert job is not None
    assert artifact is not None
    assert (job["status"], job["plan"], job["odd"]) == ("running", {"bits": 4}, 1)
    assert (artifact["foreign"], artifact["versions"]) == (True, {"lqmf": "0"})
    newest, oldest = store.find("measurements")
    assert oldest["receipt"] == RECEIPT
    if count < 4:
        assert [oldest[k] for k in ("perplexity", "kl_mean", "top1_agreement", "tokens_evaluated")] == [
            8.5, 0.0023, 0.96, 4096,
        ]  # fmt: skip
        assert (oldest["prompt_per_second"], oldest["generation_per_second"]) == (3000.5, 1020.25)
    assert newest["kl_mean"] is None
    assert store.find("predictions") == []
    store.insert("predictions", {"job": "old", "quantity": "size_bytes", "predicted": 1e12, "measured": 1})
    assert store.find("predictions", {"quantity": "size_bytes"})[0]["predicted"] == 1e12
    store.insert("jobs", {"id": "new", "owner_pid": 1, "status": "done"})
    store.update("jobs", "old", {"status": "interrupted"})
    assert [row["id"] for row in store.find("jobs")] == ["new", "old"]
    store.close()


def test_the_migrations_end_in_the_columns_that_the_code_knows(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "lqmf.db", pytest.fail)
    store.close()
    with closing(sqlite3.connect(tmp_path / "lqmf.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert set(tables) == set(COLUMNS)
        sql_types = {"text": "TEXT", "json": "TEXT", "integer": "INTEGER", "boolean": "INTEGER", "real": "FLOAT"}
        for table, columns in COLUMNS.items():
            found = {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({table})")}
            wanted = {name: sql_types[kind] for name, kind in columns.items()} | {"_extra": "TEXT"}
            assert {name: "FLOAT" if kind == "REAL" else kind for name, kind in found.items()} == wanted


def test_every_migration_says_why() -> None:
    assert all(len(step.why) > 30 and step.why.endswith(".") for step in MIGRATIONS)


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = open_store("sqlite", tmp_path, pytest.fail)
    store.insert("jobs", {"id": "a"})
    store.close()
    with closing(sqlite3.connect(tmp_path / "lqmf.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(
        StoreError, match=f"newer LQMF: its schema is number 99, and this version knows {len(MIGRATIONS)}"
    ):
        open_store("sqlite", tmp_path, pytest.fail)
    with closing(sqlite3.connect(tmp_path / "lqmf.db")) as connection:
        assert connection.execute("SELECT id FROM jobs").fetchall() == [("a",)]


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    write_with_first_migrations(tmp_path / "lqmf.db", 1)
    connection = sqlite3.connect(tmp_path / "lqmf.db", isolation_level=None)
    db = Database(connection)
    broken = (*MIGRATIONS[:3], type(MIGRATIONS[0])("breaks", lambda d: d.execute("SELECT no_such_thing")))
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, broken)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert "owner_pid" not in db["jobs"].columns_dict
    connection.close()
    store = open_store("sqlite", tmp_path, pytest.fail)
    assert store.get("jobs", "old") is not None
    store.close()


# ---------------------------------------------------------------- corruption


def fill(folder: Path, rows: int = 300) -> Path:
    store = open_store("sqlite", folder, pytest.fail)
    for number in range(rows):
        store.insert("events", {"job": f"j{number % 7}", "text": "x" * 500})
    store.close()
    return folder / "lqmf.db"


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "header":
        data[:100] = b"\0" * 100
    elif how == "text":
        data = bytearray(b"this is no database\n" * 50)
    elif how == "torn page":
        data[8 * 4096 : 8 * 4096 + 3000] = random.Random(1).randbytes(3000)
    elif how == "cut off":
        data = data[: len(data) // 2]
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["header", "text", "torn page", "cut off"])
def test_a_corrupt_database_is_set_aside_and_a_new_one_begun(tmp_path: Path, how: str) -> None:
    path = fill(tmp_path)
    damage(path, how)
    damaged = path.read_bytes()
    notices: list[str] = []
    store = open_store("sqlite", tmp_path, notices.append)
    assert len(notices) == 1
    assert "was corrupt" in notices[0]
    assert "lqmf.db.corrupt-1" in notices[0]
    assert (tmp_path / "lqmf.db.corrupt-1").read_bytes() == damaged
    assert store.find("events") == []
    store.insert("jobs", {"id": "after"})
    store.close()
    again = open_store("sqlite", tmp_path, pytest.fail)
    assert len(again.find("jobs")) == 1
    again.close()
    damage(path, how)
    open_store("sqlite", tmp_path, notices.append).close()
    assert (tmp_path / "lqmf.db.corrupt-2").exists()


def test_damage_that_shows_only_later_is_recovered_from_in_the_middle_of_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database too large to be checked at the start; the torn page is met by a query."""
    path = fill(tmp_path)
    damage(path, "torn page")
    monkeypatch.setattr("lqmf.store.sqlite.CHECK_BELOW_BYTES", 0)
    notices: list[str] = []
    store: SqliteStore
    recovered = []

    def rebuild(notice: str) -> None:
        notices.append(notice)
        recovered.append(store.insert("events", {"job": "rebuilt"}))

    store = SqliteStore(path, rebuild)
    assert notices == []
    assert [row["job"] for row in store.find("events")] == ["rebuilt"]
    assert len(notices) == 1
    assert recovered == [1]
    store.close()


def test_a_second_process_moves_on_to_the_new_database(tmp_path: Path) -> None:
    """One that had the corrupt database open when another set it aside does not go on writing into the old file."""
    notices: list[str] = []
    first = open_store("sqlite", tmp_path, notices.append)
    first.insert("jobs", {"id": "before"})
    os.replace(tmp_path / "lqmf.db", tmp_path / "lqmf.db.corrupt-1")
    for suffix in ("-wal", "-shm"):
        os.replace(tmp_path / f"lqmf.db{suffix}", tmp_path / f"lqmf.db.corrupt-1{suffix}")
    second = open_store("sqlite", tmp_path, notices.append)
    second.insert("jobs", {"id": "second"})
    first.insert("jobs", {"id": "first"})
    second.insert("jobs", {"id": "third"})
    first.close()
    second.close()
    again = open_store("sqlite", tmp_path, notices.append)
    assert [row["id"] for row in again.find("jobs")] == ["third", "first", "second"]
    again.close()
    assert notices == []


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "lqmf.db").touch()
    store = open_store("sqlite", tmp_path, pytest.fail)
    assert store.insert("jobs", {"id": "a"}) == "a"
    store.close()


def test_whether_a_job_may_be_running_is_seen_without_opening_the_store(tmp_path: Path) -> None:
    assert not may_have_running("sqlite", tmp_path)
    store = open_store("sqlite", tmp_path, pytest.fail)
    assert not may_have_running("sqlite", tmp_path)
    store.insert("jobs", {"id": "a", "status": "running"})
    assert may_have_running("sqlite", tmp_path)
    store.close()
    assert may_have_running("sqlite", tmp_path)
    damage(tmp_path / "lqmf.db", "text")
    assert may_have_running("sqlite", tmp_path)
    assert not may_have_running("json", tmp_path)


def test_the_look_for_running_jobs_imports_no_sqlite_utils() -> None:
    program = (
        "import sys, pathlib; from lqmf.store.open import may_have_running; import lqmf.agents.memory_agent;"
        "may_have_running('sqlite', pathlib.Path('/nowhere')); print({'sqlite_utils', 'psutil'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
