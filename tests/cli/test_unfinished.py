"""What came to nothing is one truth for `list`, `disk`, `resume` and the chat's start, and each says what to type."""

import json
import os
import random
import sqlite3
from pathlib import Path
from typing import Any

import psutil
import pytest

from lqmf.jobs.journal import work_key
from lqmf.records import ModelRef, QuantizationPlan, to_json
from lqmf.store.open import open_store
from lqmf.store.tables import COLUMNS

ID = "20260101-000000-abcdef"
DEMO = ModelRef("demo", "demo")
WRONG: list[Any] = ["text", "", "[", "{}", "[1]", '"x"', "null", -1, 0, 10**12, 2.5, 1e300, float("inf"), b"\xff\x00"]


def plan(type: str = "Q4_0", id: str = "plan-1") -> dict[str, Any]:
    return to_json(QuantizationPlan(id, DEMO, None, "gguf", 4, type, "gguf", "cpu"))


def remember(home: Path, **job: Any) -> None:
    """A job of an earlier process."""
    store = open_store("sqlite", home / "mcp", lambda told: None)
    row = {"id": ID, "kind": "quantize", "title": "demo as Q4_0", "status": "failed", "plan": plan(), "model": "demo"}
    store.insert("jobs", {**row, "started_at": 1e9, "ended_at": 1e9 + 60, **job})
    store.close()


def leave(home: Path, apart: str = "") -> Path:
    """The folder of files that a job on the demo made on the way."""
    folder = home / "quantized-models" / f".building-work-{work_key(DEMO, None)}{apart}"
    folder.mkdir(parents=True)
    (folder / "base.gguf").write_bytes(b"x" * 5000)
    return folder


def words(text: str) -> str:
    return " ".join(text.split())


def remedy_of(run: Any, folder: Path) -> str:
    removable = run("disk", "--json").document["removable"]
    return str(next(item["remedy"] for item in removable if item["path"] == str(folder)))


def test_a_failed_quantization_is_named_alike_by_list_disk_and_show(run, home):
    remember(home)
    folder = leave(home)
    [listed] = run("list", "--json").document["records"]
    assert listed["next"] == run("show", ID, "--json").document["next"] == f"lqmf resume {ID}"
    assert remedy_of(run, folder) == f"`lqmf resume {ID}` uses it, or remove the folder"


def test_an_interrupted_rebuild_is_done_anew_and_everybody_says_so(run, home):
    remember(home, kind="rebuild", artifact="demo_gguf_4bit_Q4_0", status="interrupted")
    folder = leave(home, "-again-xyz")
    anew = "lqmf rebuild demo_gguf_4bit_Q4_0"
    assert run("list", "--json").document["records"][0]["next"] == anew
    assert remedy_of(run, folder) == f"`{anew}` uses it, or remove the folder"
    error = run("resume", "--json").document["error"]
    assert error["remedy"] == f"`{anew}` does it anew."
    assert "a rebuild is done anew" in error["message"]


@pytest.mark.parametrize("damaged", [None, "text", [], {"id": 3}, {**plan(), "bits": "four"}, {**plan(), "model": 1}])
def test_a_damaged_plan_is_told_in_words_with_the_next_command(run, home, damaged):
    remember(home, plan=damaged)
    for error in (run("resume", "--json").document["error"], run("resume", ID, "--json").document["error"]):
        assert "the record of its plan is damaged" in error["message"]
        assert "`lqmf quantize demo`" in error["remedy"]
    assert run("list", "--json").document["records"][0]["next"] == "lqmf quantize demo"


def test_a_damaged_job_does_not_hide_the_one_that_can_go_on(run, home):
    remember(home)
    remember(home, id="20260202-000000-abcdef", plan={"bits": []}, ended_at=2e9)
    found = [one["next"] for one in run("list", "--json").document["records"]]
    assert found == ["lqmf quantize demo", f"lqmf resume {ID}"]


def test_parts_of_a_list_of_types_that_no_job_began_with_are_still_to_come(run, home):
    later = [plan("Q8_0", "plan-2")]
    remember(home, status="done", later_plans=later)
    assert run("disk", "--json").code == 0
    from lqmf.cli.render import Screen
    from lqmf.cli.session import Session
    from lqmf.operations.unfinished import unfinished

    talk = Session(Screen(), {})
    [job] = unfinished(talk.app)
    talk.close()
    assert [each.type for each, _ in job.plans] == ["Q4_0", "Q8_0"]
    remember(home, id="20260202-000000-abcdef", status="failed", plan=later[0])
    talk = Session(Screen(), {})
    assert [(job.id, [each.type for each, _ in job.plans]) for job in unfinished(talk.app)] == [
        ("20260202-000000-abcdef", ["Q8_0"])
    ]
    talk.close()


def test_a_running_jobs_folders_are_in_use_and_not_to_be_removed(run, home):
    owner = {"owner_pid": os.getpid(), "owner_started": psutil.Process().create_time()}
    remember(home, status="running", model="org/name", **owner)
    building = home / "quantized-models" / f".building-{ID}"
    model = home / "models" / "org--name"
    work = leave(home)
    for folder in (building, model):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 5000)
    lock = home / "logs" / f"{work_key(DEMO, None)}.work.lock"
    lock.parent.mkdir()
    lock.write_text(json.dumps(owner))
    found = run("disk", "--json").document
    assert found["removable"] == []
    assert {used["path"] for used in found["in_use"]} == {str(building), str(model), str(work)}
    assert "is in use by a running job" in words(run("disk").out)


COMMANDS = [
    ("list",), ("list", "--deleted"), ("show", ID), ("show", "m_gguf_4bit_Q4_0"), ("history",), ("stats",), ("disk",),
    ("stats", "--predictions"), ("resume", ID), ("resume",),
]  # fmt: skip
TABLES = ("jobs", "jobs", "artifacts", "measurements", "attempts", "events", "predictions")
MUTATIONS = int(os.environ.get("LQMF_MUTATIONS", "60"))


def test_no_command_fails_over_a_row_of_the_store_that_holds_nonsense(run, home, make_artifact):
    """Each time one to three values of the database are replaced; artifacts come back from their manifests."""
    make_artifact("m_gguf_4bit_Q4_0", "Q4_0")
    remember(home, kind="test", title="m_gguf_4bit_Q4_0", artifact="m_gguf_4bit_Q4_0", status="failed")
    run("list")
    store = open_store("sqlite", home / "mcp", lambda told: None)
    store.insert("predictions", {"quantity": "size_bytes", "predicted": 1.0, "measured": 2.0, "at": 1e9})
    store.insert("attempts", {"job": ID, "attempt": 1, "status": "failed", "started_at": 1e9})
    store.insert("events", {"job": ID, "event": "StageStarted", "stage": "test", "at": 1e9})
    store.close()
    whole, faults = (home / "mcp" / "lqmf.db").read_bytes(), []
    for number in range(MUTATIONS):
        chance = random.Random(number)
        for file in (home / "mcp").iterdir():
            file.unlink()
        (home / "mcp" / "lqmf.db").write_bytes(whole)
        with sqlite3.connect(home / "mcp" / "lqmf.db") as database:
            for _ in range(chance.randint(1, 3)):
                table = chance.choice(
                    ["jobs", "jobs", "artifacts", "measurements", "attempts", "events", "predictions"]
                )
                column = chance.choice([*COLUMNS[table], "_extra"])
                if column in ("id", "name"):
                    continue
                database.execute(f'UPDATE "{table}" SET "{column}" = ?', [chance.choice(WRONG)])
        for command in chance.sample(COMMANDS, 2):
            ran = run(*command)
            if any(word in ran.err + ran.out for word in ("made a mistake", "Traceback")):
                faults.append((number, command, ran.err[-300:]))
    assert faults == []


def test_a_damaged_row_is_told_of_once_by_name_and_its_artifact_is_read_back(run, home, make_artifact):
    make_artifact("m_gguf_4bit_Q4_0", "Q4_0")
    run("list")
    with sqlite3.connect(home / "mcp" / "lqmf.db") as database:
        database.execute("UPDATE artifacts SET method = 5, bits = 'four'")
    ran = run("list")
    assert words(ran.out + ran.err).count("The record of m_gguf_4bit_Q4_0 in artifacts is damaged") == 1
    assert [row["status"] for row in run("list", "--json").document["records"]] == ["ok"]
