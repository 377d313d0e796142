"""The JSON backend's own promises: what a crash leaves behind, what a person's editor does, and compaction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lqmf.errors import StoreError
from lqmf.store import json_files
from lqmf.store.open import open_store


def fill(folder: Path, rows: int = 3) -> Path:
    store = open_store("json", folder, pytest.fail)
    for number in range(rows):
        store.insert("jobs", {"id": f"j{number}", "status": "running"})
    return folder / "jobs.jsonl"


@pytest.mark.parametrize("tail", [b'{"put":"j9","row":{"id":"j9"', b"\0" * 64, b'{"put":"j9","row":{"id":"j9"}}'])
def test_a_torn_last_line_is_ignored_and_then_cut_off(tmp_path: Path, tail: bytes) -> None:
    path = fill(tmp_path)
    with path.open("ab") as file:
        file.write(tail)
    store = open_store("json", tmp_path, pytest.fail)
    assert [row["id"] for row in store.find("jobs")] == ["j2", "j1", "j0"]
    store.insert("jobs", {"id": "next"})
    assert tail not in path.read_bytes()
    assert [row["id"] for row in open_store("json", tmp_path, pytest.fail).find("jobs")] == ["next", "j2", "j1", "j0"]


@pytest.mark.parametrize("line", [b"not json", b"[1]", b'{"neither": 1}', b'{"set": "nobody", "row": {}}', b"\xff\xfe"])
def test_unreadable_lines_are_set_aside_and_the_others_kept(tmp_path: Path, line: bytes) -> None:
    path = fill(tmp_path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], line, *lines[2:]]) + b"\n")
    notices: list[str] = []
    store = open_store("json", tmp_path, notices.append)
    assert [row["id"] for row in store.find("jobs")] == ["j2", "j1", "j0"]
    assert len(notices) == 1
    assert "1 of its lines" in notices[0]
    assert line in (tmp_path / "jobs.jsonl.corrupt-1").read_bytes()
    store.insert("jobs", {"id": "next"})
    assert len(open_store("json", tmp_path, pytest.fail).find("jobs")) == 4


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = fill(tmp_path)
    text = path.read_text().replace('"format":1', '"format":7')
    path.write_text(text)
    store = open_store("json", tmp_path, pytest.fail)
    for _ in range(2):
        with pytest.raises(StoreError, match="newer LQMF: its format is number 7"):
            store.insert("jobs", {"id": "x"})
    assert path.read_text() == text


def test_a_file_is_compacted_and_other_processes_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "SLACK", 10)
    path = fill(tmp_path)
    writer, reader = (open_store("json", tmp_path, pytest.fail) for _ in range(2))
    for number in range(100):
        writer.update("jobs", "j1", {"attempts": number})
        assert reader.find("jobs", {"id": "j1"})[0]["attempts"] == number
    assert len(path.read_text().splitlines()) < 25
    assert [row["id"] for row in reader.find("jobs")] == ["j2", "j1", "j0"]
    reader.update("jobs", "j0", {"attempts": 7})
    row = writer.get("jobs", "j0")
    assert row is not None
    assert (row["attempts"], row["status"]) == (7, "running")


def test_a_file_that_vanishes_is_an_empty_table(tmp_path: Path) -> None:
    path = fill(tmp_path)
    store = open_store("json", tmp_path, pytest.fail)
    assert len(store.find("jobs")) == 3
    path.unlink()
    assert store.find("jobs") == []
    store.insert("jobs", {"id": "new"})
    assert [json.loads(line).get("put") for line in path.read_text().splitlines()] == [None, "new"]
