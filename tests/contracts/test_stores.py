"""The Store promise, held against both backends. Whatever passes here may keep LQMF's records."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lqmf.errors import NotFound, StoreError
from lqmf.store.base import TABLES, Store
from lqmf.store.open import open_store

Backend = Literal["sqlite", "json"]
WRITERS, PROCESSES, ROWS = 25, 4, 3

WRITE_CONCURRENTLY = f"""
import sys, threading
from pathlib import Path
from lqmf.store.open import open_store

backend, folder, process = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

together = threading.Barrier({WRITERS})

def write(writer):
    together.wait()
    store = open_store(backend, folder, print)
    for number in range({ROWS}):
        name = f"{{process}}-{{writer}}-{{number}}"
        store.insert("jobs", {{"id": name, "status": "running", "note": name}})
        store.insert("events", {{"job": name, "event": "StageStarted"}})
        store.update("jobs", name, {{"status": "done"}})
        store.update("jobs", "shared", {{name: True}})
    store.close()

threads = [threading.Thread(target=write, args=(n,)) for n in range({WRITERS})]
[t.start() for t in threads]
[t.join() for t in threads]
"""

WRITE_FOREVER = """
import sys
from pathlib import Path
from lqmf.store.open import open_store

store = open_store(sys.argv[1], Path(sys.argv[2]), print)
number = 0
while True:
    key = store.insert("events", {"job": "j", "text": "x" * 5000, "at": number})
    sys.stdout.write(f"{key}\\n")
    sys.stdout.flush()
    number += 1
"""


@pytest.fixture(params=["sqlite", "json"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture
def reopen(backend: Backend, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the same folder again and again, as new processes would."""
    stores: list[Store] = []

    def again() -> Store:
        stores.append(open_store(backend, tmp_path, pytest.fail))
        return stores[-1]

    yield again
    for store in stores:
        store.close()


@pytest.fixture
def store(reopen: Callable[[], Store]) -> Store:
    return reopen()


def test_a_row_comes_back_as_it_was_put_in(store: Store, reopen: Callable[[], Store]) -> None:
    row = {
        "id": "j1", "title": "größe \x1b[31m\x00 'x'); DROP TABLE jobs;--", "status": "running", "started_at": 1.5,
        "plan": {"bits": 4, "choices": [{"name": "type", "value": None}]}, "attempts": 2,
        "unforeseen": {"deep": [1, 2.5, None, True]}, "_extra": "mine", "owner_pid": 2**70, "error": None,
        "stage": 7, "surrogate": "\udce4", "method": "\udce4", "kind": False,
    }  # fmt: skip
    assert store.insert("jobs", row) == "j1"
    for reader in (store, reopen()):
        found = reader.get("jobs", "j1")
        assert found is not None
        assert {name: found[name] for name in row} == row
        assert found["kind"] is False


def test_every_column_is_there_and_none_when_not_set(store: Store) -> None:
    store.insert("artifacts", {"name": "a", "foreign": True})
    found = store.get("artifacts", "a")
    assert found is not None
    assert found["foreign"] is True
    assert found["receipt"] is None
    assert "_extra" not in found


def test_both_backends_give_the_same_rows(tmp_path: Path) -> None:
    rows = []
    for name in ("sqlite", "json"):
        each = open_store(name, tmp_path / name, pytest.fail)  # type: ignore[arg-type]
        each.insert("events", {"job": "j", "at": 1, "odd": 2})
        each.insert("models", {"id": "org/m", "parameters": 7})
        rows.append((each.find("events"), each.find("models")))
        each.close()
    assert rows[0] == rows[1]


def test_a_folder_of_a_time_before_predictions_takes_them(reopen: Callable[[], Store], tmp_path: Path) -> None:
    """Other tables' files alone (JSON), or a whole database (SQLite: an older one's migration is tested there)."""
    reopen().insert("jobs", {"id": "old"})
    assert not (tmp_path / "predictions.jsonl").exists()
    row = {"quantity": "size_bytes", "predicted": 1_000_000.0, "uncorrected": 2e6, "measured": 1_100_000, "model": "m"}
    later = reopen()
    assert later.find("predictions") == []
    assert later.insert("predictions", row) == 1
    (found,) = reopen().find("predictions", {"quantity": "size_bytes"})
    assert {name: found[name] for name in row} == row
    assert found["architecture"] is None


def test_rows_without_a_key_are_numbered_and_rise(store: Store, reopen: Callable[[], Store]) -> None:
    first = store.insert("turns", {"text": "a", "id": 99})
    second = reopen().insert("turns", {"text": "b"})
    third = store.insert("turns", {"text": "c"})
    assert [first, second, third] == [1, 2, 3]
    assert store.get("turns", 2) == reopen().get("turns", 2)


def test_a_second_row_with_the_same_key_replaces_the_first_and_is_the_newest(store: Store) -> None:
    for row in ({"name": "a", "bits": 4, "path": "old"}, {"name": "b"}, {"name": "a", "bits": 5}):
        store.insert("artifacts", row)
    assert [row["name"] for row in store.find("artifacts")] == ["a", "b"]
    found = store.get("artifacts", "a")
    assert found is not None
    assert (found["bits"], found["path"]) == (5, None)


def test_an_update_changes_what_it_names_and_leaves_the_place(store: Store, reopen: Callable[[], Store]) -> None:
    store.insert("jobs", {"id": "a", "status": "running", "odd": 1, "plan": {"x": 1}})
    store.insert("jobs", {"id": "b"})
    store.update("jobs", "a", {"status": "done", "result": {"artifact": "q"}, "odd": 2, "new": [3], "plan": None})
    found = reopen().get("jobs", "a")
    assert found is not None
    assert [found[k] for k in ("id", "status", "result", "odd", "new", "plan")] == [
        "a", "done", {"artifact": "q"}, 2, [3], None,
    ]  # fmt: skip
    assert [row["id"] for row in store.find("jobs")] == ["b", "a"]


def test_an_update_of_a_row_that_is_not_there_says_so(store: Store) -> None:
    for table, key in (("jobs", "nope"), ("events", 12)):
        with pytest.raises(NotFound, match=str(key)):
            store.update(table, key, {"status": "done"})
        assert store.get(table, key) is None


def test_find_filters_orders_and_limits(store: Store) -> None:
    for number in range(6):
        store.insert("events", {"job": "ab"[number % 2], "at": number, "odd": number > 2, "text": None})
    assert [row["at"] for row in store.find("events", {"job": "a"})] == [4, 2, 0]
    assert [row["at"] for row in store.find("events", {"job": "a"}, limit=2, newest_first=False)] == [0, 2]
    assert [row["at"] for row in store.find("events", {"job": "a", "odd": True})] == [4]
    assert [row["at"] for row in store.find("events", {"text": None, "at": 3})] == [3]
    assert store.find("events", {"odd": 1}) == []
    assert store.find("events", {"no_such_column": "x"}) == []
    assert len(store.find("events", {"no_such_column": None}, limit=4)) == 4
    assert store.find("events", limit=0) == []


def test_a_row_that_was_handed_out_is_a_copy(store: Store) -> None:
    plan = {"bits": 4}
    store.insert("jobs", {"id": "a", "plan": plan})
    plan["bits"] = 5
    store.find("jobs")[0]["plan"]["bits"] = 6
    assert store.find("jobs")[0]["plan"] == {"bits": 4}


def test_a_wrong_table_or_a_row_without_its_key_is_refused(store: Store) -> None:
    for use in (store.find, lambda t: store.get(t, 1), lambda t: store.insert(t, {}), lambda t: store.update(t, 1, {})):
        with pytest.raises(StoreError, match="no table 'secrets'"):
            use("secrets")
    with pytest.raises(StoreError, match="needs its 'id'"):
        store.insert("jobs", {"title": "no id"})


def test_a_closed_store_refuses(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.find("jobs")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(table=st.sampled_from(sorted(TABLES)), data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_row_survives(store: Store, reopen: Callable[[], Store], table: str, data: st.DataObject) -> None:
    from lqmf.store.tables import COLUMNS

    names = st.sampled_from(sorted(COLUMNS[table])) | st.text(min_size=1)
    row: dict[str, Any] = data.draw(st.dictionaries(names, JSON, max_size=5))
    column = TABLES[table]
    row = {k: v for k, v in row.items() if k != "id"} | ({column: "k"} if column else {})
    found = store.get(table, store.insert(table, row))
    assert found is not None
    assert {name: found[name] for name in row} == row
    assert all(found[name] is value for name, value in row.items() if isinstance(value, bool))


def _start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_hundred_writers_in_four_processes_lose_nothing(backend: Backend, tmp_path: Path) -> None:
    """Each opens the store itself, at once with the others, where none exists yet; all change one row, too."""
    first = open_store(backend, tmp_path, pytest.fail)
    first.insert("jobs", {"id": "shared"})
    first.close()
    processes = [_start(WRITE_CONCURRENTLY, backend, tmp_path, n) for n in range(PROCESSES)]
    for process in processes:
        output, errors = process.communicate()
        assert (process.returncode, output, errors) == (0, "", "")
    store = open_store(backend, tmp_path, pytest.fail)
    names = {f"{p}-{w}-{n}" for p in range(PROCESSES) for w in range(WRITERS) for n in range(ROWS)}
    jobs = {row["id"]: row for row in store.find("jobs")}
    shared = jobs.pop("shared")
    assert set(jobs) == names
    assert all(row["status"] == "done" and row["note"] == name for name, row in jobs.items())
    assert {name for name, value in shared.items() if value is True} == names
    assert sorted(row["job"] for row in store.find("events")) == sorted(names)
    assert sorted(row["id"] for row in store.find("events")) == list(range(1, len(names) + 1))
    store.close()


def test_four_processes_may_create_the_store_at_the_same_moment(backend: Backend, tmp_path: Path) -> None:
    program = WRITE_CONCURRENTLY.replace('store.update("jobs", "shared", {name: True})', "").replace(
        f"({WRITERS})", "(2)"
    )
    processes = [_start(program, backend, tmp_path / "new", n) for n in range(PROCESSES)]
    for process in processes:
        assert (*process.communicate(), process.returncode) == ("", "", 0)
    store = open_store(backend, tmp_path / "new", pytest.fail)
    assert len(store.find("events")) == PROCESSES * 2 * ROWS
    store.close()


def test_threads_may_share_one_store(store: Store) -> None:
    def write(writer: int) -> None:
        for number in range(10):
            store.insert("turns", {"text": f"{writer}-{number}"})

    threads = [threading.Thread(target=write, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({row["text"] for row in store.find("turns")}) == 100


@pytest.mark.parametrize("round_", range(3))
def test_a_writer_killed_in_the_middle_leaves_every_acknowledged_row(
    backend: Backend, tmp_path: Path, round_: int
) -> None:
    writer = _start(WRITE_FOREVER, backend, tmp_path)
    assert writer.stdout is not None
    assert writer.stderr is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(20)]
    time.sleep(0.013 * (round_ + 1))
    writer.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    writer.wait()
    writer.stdout.close()
    writer.stderr.close()
    store = open_store(backend, tmp_path, pytest.fail)
    found = {row["id"]: row for row in store.find("events")}
    assert set(acknowledged) <= set(found)
    assert all(row["text"] == "x" * 5000 for row in found.values())
    assert store.insert("events", {"job": "next"}) == max(found) + 1
    store.close()


def test_a_folder_that_cannot_be_written_is_a_store_error(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be used") as refused:
        open_store(backend, tmp_path / "file" / "mcp", pytest.fail)
    assert "--workspace" in refused.value.remedy


def test_a_folder_that_can_only_be_read_is_read_and_what_is_new_lasts_as_long_as_the_process(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "mcp"
    before = open_store(backend, place, pytest.fail)
    before.insert("models", {"id": "kept"})
    before.close()
    held = {one.name: one.read_bytes() for one in place.iterdir() if one.suffix != ".lock"}
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anywhere
    store = open_store(backend, place, pytest.fail)
    store.insert("models", {"id": "new"})
    assert [row["id"] for row in store.find("models")] == ["new", "kept"]
    store.close()
    assert {one.name: one.read_bytes() for one in place.iterdir() if one.suffix != ".lock"} == held
    assert open_store(backend, tmp_path / "nowhere" / "mcp", pytest.fail).find("models") == []
    assert not (tmp_path / "nowhere").exists()


def test_rows_are_json_values(store: Store) -> None:
    store.insert("models", {"id": "m", "info": {"a": (1, 2)}})
    assert json.loads(json.dumps(store.get("models", "m"))) == store.get("models", "m")
