"""The MemoryAgent over both backends: what happened is kept, and questions about it are answered."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest

from lqmf import events
from lqmf.agents.memory_agent import MemoryAgent
from lqmf.errors import AmbiguousName, NotFound, StoreError
from lqmf.records import (
    Artifact,
    Choice,
    Decision,
    Divergence,
    FileEntry,
    Job,
    Manifest,
    ModelInfo,
    ModelRef,
    QuantizationPlan,
    Receipt,
    to_json,
)
from lqmf.store.base import Store
from lqmf.store.open import may_have_running, open_store
from lqmf.workspace import write_json

Backend = Literal["sqlite", "json"]
SECRET = "hf_0123456789abcdefghij"
MODEL = ModelRef("hub", "org/model-7b")
PLAN = QuantizationPlan(
    id="p1", model=MODEL, commit="c0ffee", method="gguf", bits=4, type="Q4_K_M", format="gguf", device="cpu",
    choices=(Choice("bits", 4, "you said so", "user"),),
)  # fmt: skip
INFO = ModelInfo(
    ref=MODEL, commit="c0ffee", architecture="LlamaForCausalLM", model_type="llama", config={"hidden_size": 64},
    files=(), weights_bytes=4000, parameters=2000, license="mit",
)  # fmt: skip
RECEIPT = Receipt(
    perplexity=8.5, kl_divergence=Divergence(0.002, 0.0001, 0.001, 0.01, 0.1, 1.0), tokens_evaluated=4096,
    tokens_per_second={"prompt": 3000.0, "generation": 1000.0},
)  # fmt: skip


class Clock:
    """A time that rises by a second whenever it is asked for."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture(params=["sqlite", "json"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture
def agent(backend: Backend, tmp_path: Path) -> MemoryAgent:
    return make(backend, tmp_path)


def make(backend: Backend, root: Path, heard: list[str] | None = None) -> MemoryAgent:
    return MemoryAgent(
        functools.partial(open_store, backend, root / "mcp"),
        root / "quantized-models",
        redact=lambda text: text.replace(SECRET, "hf_***"),
        notify=pytest.fail if heard is None else heard.append,
        may_have_running=functools.partial(may_have_running, backend, root / "mcp"),
        clock=Clock(),
    )


def artifact(name: str, created: str = "2026-11-22T05:41:38+00:00", **changes: Any) -> Artifact:
    made = Artifact(name, f"/nowhere/{name}", "gguf", 4, "Q4_K_M", 1000, 4000, 4.0, MODEL.id, created)
    return dataclasses.replace(made, **changes)


def manifest(name: str, created: str = "2026-11-22T05:41:38+00:00") -> Manifest:
    return Manifest(
        format_version=1, name=name, model=MODEL, commit="c0ffee", source_sha256={"model.safetensors": "00"},
        plan=to_json(PLAN), created_at=created, source_size_bytes=4000, versions={"lqmf": "0.1"},
        files=(FileEntry("model.gguf", 1000, "ab"), FileEntry("tokenizer.json", 50, "cd"),
               FileEntry("README.md", 9, "ef", False)),
    )  # fmt: skip


def on_disk(root: Path, name: str, receipt: Receipt | None = RECEIPT, **changes: Any) -> Path:
    folder = root / "quantized-models" / name
    write_json(folder / "manifest.json", to_json(manifest(name, **changes)))
    if receipt:
        write_json(folder / "receipt.json", to_json(receipt))
    return folder


def run_job(agent: MemoryAgent, id: str, status: str = "done", at: float = 1000.0, **finish: Any) -> None:
    agent.start_job(Job(id, "quantize", f"quantize {id}", "running", to_json(PLAN), started_at=at))
    agent.on_event(events.JobStarted(job=id, at=at, kind="quantize", title=f"quantize {id}"))
    agent.on_event(events.StageStarted(job=id, at=at + 1, stage="convert", title="Converting"))
    agent.on_event(events.Progress(job=id, at=at + 2, stage="convert", done=1))
    agent.on_event(events.StageFinished(job=id, at=at + 3, stage="convert", seconds=2.0))
    agent.on_event(events.Notice(job=id, at=at + 4, text=f"token {SECRET} seen", level="warning"))
    agent.on_event(events.JobFinished(job=id, at=at + 10, status=status, seconds=10.0, **finish))


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    def never(_heard: Any) -> Store:
        raise AssertionError("opened")

    agent = MemoryAgent(never, tmp_path, may_have_running=lambda: False)
    agent.on_event(events.Progress(stage="convert", done=1))
    assert agent.interrupted_jobs() == []
    agent.close()


def test_a_job_is_recorded_from_its_events(agent: MemoryAgent) -> None:
    run_job(agent, "j1", result={"artifacts": [{"name": "q"}], "status": "done"})
    job = agent.show("j1")
    assert (job["kind"], job["job_kind"], job["status"], job["stage"]) == ("job", "quantize", "done", "convert")
    assert (job["model"], job["method"], job["artifact"], job["seconds"]) == ("org/model-7b", "gguf", "q", 10.0)
    assert (job["started_at"], job["ended_at"]) == (1000.0, 1010.0)
    assert [(row["event"], row["stage"], row["text"], row["level"]) for row in job["events"]] == [
        ("StageStarted", "convert", "Converting", None),
        ("StageFinished", "convert", None, None),
        ("Notice", None, "token hf_*** seen", "warning"),
    ]
    assert [(row["attempt"], row["status"], row["ended_at"]) for row in job["attempts_made"]] == [(1, "done", 1010.0)]


def test_attempts_are_recorded_with_their_errors(agent: MemoryAgent) -> None:
    start = functools.partial(events.JobStarted, job="j", kind="quantize", title="t")
    agent.on_event(start(at=1.0))
    error = {"code": "hub_unavailable", "message": f"503 for {SECRET}", "remedy": "wait"}
    agent.on_event(events.AttemptFailed(job="j", at=2.0, attempt=1, error=error, retry_in_seconds=4.0))
    agent.on_event(start(at=6.0, attempt=2))
    agent.on_event(events.AttemptFailed(job="j", at=7.0, attempt=2, error=error))
    agent.on_event(events.JobFinished(job="j", at=7.5, status="failed", seconds=6.5, error=error))
    job = agent.show("j")
    assert (job["status"], job["attempts"], job["error"]["message"]) == ("failed", 2, "503 for hf_***")
    columns = ("attempt", "status", "started_at", "ended_at", "retry_in_seconds")
    assert [[row[name] for name in columns] for row in job["attempts_made"]] == [
        [1, "failed", 1.0, 2.0, 4.0],
        [2, "failed", 6.0, 7.0, None],
    ]
    assert job["attempts_made"][0]["error"]["message"] == "503 for hf_***"
    assert agent.stats()["jobs"]["retries"] == 1


def test_a_dialogue_turn_is_kept_redacted(agent: MemoryAgent) -> None:
    agent.remember_turn("s", f"login {SECRET}", Decision("hf_login", {"key": SECRET}, 0.9, "word: login"), "done")
    (turn,) = agent.history()
    assert (turn["text"], turn["intent"], turn["slots"], turn["confidence"], turn["status"]) == (
        "login hf_***", "hf_login", {"key": "hf_***"}, 0.9, "done",
    )  # fmt: skip


def test_history_is_in_order_of_time_and_limited(agent: MemoryAgent) -> None:
    run_job(agent, "j1", at=1_800_000_001.5)
    for text in "abc":
        agent.remember_turn("s", text, Decision("help"), "done")
    assert [row.get("text") or row["id"] for row in agent.history()] == ["a", "j1", "b", "c"]
    assert [row["text"] for row in agent.history(2)] == ["b", "c"]


def test_an_artifact_shows_its_measurements_and_jobs(agent: MemoryAgent) -> None:
    agent.remember_artifact(artifact("m_gguf_4bit_Q4_K_M_v3"), manifest("m_gguf_4bit_Q4_K_M_v3"))
    agent.remember_receipt("m_gguf_4bit_Q4_K_M_v3", RECEIPT, "benchmarks/x.json")
    run_job(agent, "j1", result={"artifact": {"name": "m_gguf_4bit_Q4_K_M_v3"}})
    shown = agent.show("Q4_k_m")
    assert (shown["kind"], shown["name"], shown["version"]) == ("artifact", "m_gguf_4bit_Q4_K_M_v3", 3)
    assert (shown["versions"], shown["plan_id"], shown["commit"]) == ({"lqmf": "0.1"}, "p1", "c0ffee")
    (measured,) = shown["measurements"]
    assert (measured["kl_mean"], measured["generation_per_second"], measured["benchmark"]) == (
        0.002, 1000.0, "benchmarks/x.json",
    )  # fmt: skip
    assert shown["receipt"] == to_json(RECEIPT)
    assert [job["id"] for job in shown["jobs"]] == ["j1"]


def test_models_and_plans_are_kept(agent: MemoryAgent) -> None:
    agent.remember_model(INFO)
    agent.remember_model(dataclasses.replace(INFO, ref=ModelRef("demo", "demo")))
    agent.remember_model(INFO)
    agent.remember_plan(PLAN)
    assert agent.model_ids() == ["org/model-7b", "demo"]
    shown = agent.show("org/model-7b")
    assert (shown["kind"], shown["license"], shown["info"]["config"]) == ("model", "mit", {"hidden_size": 64})


def test_show_names_the_nearest_and_lists_the_ambiguous(agent: MemoryAgent) -> None:
    for name in ("demo_gguf_4bit_Q4_K_M", "demo_gguf_8bit_Q8_0"):
        agent.remember_artifact(artifact(name))
    with pytest.raises(NotFound) as missing:
        agent.show("demo_gguf_4bit_Q4_K_S")
    assert "demo_gguf_4bit_Q4_K_M" in missing.value.remedy
    with pytest.raises(AmbiguousName, match="matches 2 artifacts"):
        agent.show("demo")
    assert agent.show("8_0")["name"] == "demo_gguf_8bit_Q8_0"
    for empty in ("", "nothing like it"):
        with pytest.raises(NotFound):
            agent.show(empty)
    with pytest.raises(NotFound):
        agent.job("nope")


def test_list_filters_artifacts_and_jobs_that_came_to_nothing(agent: MemoryAgent) -> None:
    agent.remember_artifact(artifact("a", "2026-11-22T05:00:00+00:00"))
    agent.remember_artifact(artifact("b", "2026-11-23T05:00:00Z", method="bnb", type="nf4", model="other/thing"))
    error = {"code": "disk_full", "message": "no room", "remedy": ""}
    run_job(agent, "done", at=1_795_400_000.0)
    run_job(agent, "failed", "failed", at=1_795_500_000.0, error=error)
    run_job(agent, "stopped", "cancelled", at=1.0)
    everything = agent.list_records()
    assert [row.get("name") or row["id"] for row in everything] == ["failed", "b", "a", "stopped"]
    assert [row["status"] for row in everything] == ["failed", "ok", "ok", "cancelled"]
    assert everything[0]["error"] == error
    assert (everything[0]["bits"], everything[0]["type"]) == (4, "Q4_K_M")
    assert [row["name"] for row in agent.list_records("ok")] == ["b", "a"]
    assert [row["id"] for row in agent.list_records("failed")] == ["failed", "stopped"]
    assert [row["name"] for row in agent.list_records(method="BNB")] == ["b"]
    assert [row.get("name") or row["id"] for row in agent.list_records(model="MODEL-7", limit=2)] == ["failed", "a"]
    assert everything[1]["present"] is False


def test_a_deleted_artifact_leaves_the_list_and_keeps_its_record(agent: MemoryAgent) -> None:
    agent.remember_artifact(artifact("a"))
    agent.remember_receipt("a", RECEIPT)
    agent.forget("a")
    assert agent.list_records() == []
    assert agent.artifact_names() == []
    assert agent.stats()["artifacts"]["total"] == 0
    (kept,) = agent.list_records(deleted=True)
    assert (kept["name"], kept["status"], kept["deleted_at"] is None) == ("a", "deleted", False)
    with pytest.raises(NotFound):
        agent.forget("a")
    agent.remember_artifact(artifact("a", "2028-01-01T00:00:00+00:00"))
    assert agent.artifact_names() == ["a"]
    again, before = agent.list_records(deleted=True)
    assert (again["name"], again["status"], before["status"]) == ("a", "ok", "deleted")
    assert before["name"].startswith("a@2027-01-15T")
    assert agent.show("a")["measurements"] == []


def test_stats_put_it_together(agent: MemoryAgent) -> None:
    agent.remember_artifact(artifact("a"))
    agent.remember_receipt("a", RECEIPT)
    run_job(agent, "j1")
    run_job(agent, "j2", "failed")
    stats = agent.stats()
    assert stats["jobs"]["success_rate"] == 0.5
    assert stats["seconds"] == {"gguf": {"jobs": 1, "median": 10.0, "mean": 10.0}}
    assert stats["artifacts"] == {"total": 1, "size_bytes": 1000, "saved_bytes": 3000}
    assert stats["methods"][0]["kl_mean"] == 0.002


# ---------------------------------------------------------------- predictions


def predicted(quantity: str, value: float, measured: float, **more: Any) -> dict[str, Any]:
    about = {"model": MODEL.id, "architecture": "LlamaForCausalLM", "method": "gguf", "type": "Q4_K_M"}
    place = {"device": "cpu", "machine": f"a processor of {SECRET}"}
    return {
        **about,
        **place,
        "quantity": quantity,
        "predicted": value,
        "uncorrected": value,
        "measured": measured,
    } | more


def test_predictions_stand_beside_measurements_and_outlive_the_artifact(
    agent: MemoryAgent, backend: Backend, tmp_path: Path
) -> None:
    agent.remember_artifact(artifact("a"))
    agent.remember_predictions("j1", "a", [predicted("size_bytes", 100.0, 101), predicted("kl_nats", 0.004, 0.002)])
    agent.remember_predictions("j2", "b", [predicted("size_bytes", 50.0, 50, uncorrected=60.0)])
    agent.forget("a")
    agent.close()
    kept = make(backend, tmp_path)
    assert [(row["job"], row["quantity"]) for row in kept.predictions()] == [
        ("j2", "size_bytes"), ("j1", "kl_nats"), ("j1", "size_bytes"),
    ]  # fmt: skip
    newer, older = kept.predictions("size_bytes")
    assert (newer["predicted"], newer["uncorrected"], newer["measured"]) == (50.0, 60.0, 50)
    assert (older["artifact"], older["type"], older["architecture"]) == ("a", "Q4_K_M", "LlamaForCausalLM")
    assert older["machine"] == "a processor of hf_***"
    assert 1_800_000_000 < older["at"] < newer["at"]
    assert kept.predictions("load_seconds") == []


def test_predictions_that_cannot_be_kept_are_told_of_once_and_stop_no_job(tmp_path: Path) -> None:
    def refuse(_heard: Any) -> Store:
        raise StoreError("The disk is full.", "`lqmf disk`")

    heard: list[str] = []
    agent = MemoryAgent(refuse, tmp_path, notify=heard.append)
    agent.remember_predictions("j", "a", [predicted("size_bytes", 100.0, 101), predicted("kl_nats", 0.004, 0.002)])
    assert heard == ["This is not being recorded. The disk is full. `lqmf disk`"]


# ---------------------------------------------------------------- interrupted jobs

START_AND_HANG = """
import sys, time
from functools import partial
from pathlib import Path
from lqmf import events
from lqmf.agents.memory_agent import MemoryAgent
from lqmf.records import Job
from lqmf.store.open import open_store

root = Path(sys.argv[2])
agent = MemoryAgent(partial(open_store, sys.argv[1], root / "mcp"), root / "quantized-models")
agent.start_job(Job("hanging", "quantize", "quantize it", "running", started_at=1000.0))
agent.on_event(events.JobStarted(job="hanging", at=1000.0, kind="quantize", title="quantize it"))
agent.on_event(events.StageStarted(job="hanging", at=1234.5, stage="quantize"))
print("recorded", flush=True)
time.sleep(600)
"""


def test_a_job_whose_process_was_killed_is_interrupted_and_one_that_runs_is_not(
    agent: MemoryAgent, backend: Backend, tmp_path: Path
) -> None:
    chat = subprocess.Popen([sys.executable, "-c", START_AND_HANG, backend, str(tmp_path)], stdout=subprocess.PIPE)
    assert chat.stdout is not None
    assert chat.stdout.readline() == b"recorded\n"
    assert agent.interrupted_jobs() == []
    chat.kill()
    while psutil.Process(chat.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    (job,) = agent.interrupted_jobs()  # dead, though nobody has waited for it yet
    assert (job["id"], job["status"], job["stage"], job["ended_at"]) == ("hanging", "interrupted", "quantize", 1234.5)
    assert agent.show("hanging")["attempts_made"][0]["status"] == "interrupted"
    assert agent.interrupted_jobs() == []
    assert [row["status"] for row in agent.list_records("failed")] == ["interrupted"]
    chat.wait()
    chat.stdout.close()


def test_a_process_id_used_again_does_not_keep_a_job_running(agent: MemoryAgent) -> None:
    agent.start_job(Job("j", "quantize", "t", "running"))
    assert agent.interrupted_jobs() == []
    agent._store.update("jobs", "j", {"owner_started": 5.0, "owner_pid": os.getpid()})
    assert [job["id"] for job in agent.interrupted_jobs()] == ["j"]


def test_a_job_that_is_resumed_runs_again(agent: MemoryAgent) -> None:
    agent.start_job(Job("j", "quantize", "t", "running", started_at=5.0))
    agent._store.update("jobs", "j", {"owner_pid": None})
    assert len(agent.interrupted_jobs()) == 1
    agent.on_event(events.JobStarted(job="j", kind="quantize", title="t", attempt=2))
    assert agent.last_job() == agent.job("j")
    assert (agent.job("j")["status"], agent.job("j")["attempts"], agent.job("j")["ended_at"]) == ("running", 2, None)
    assert agent.interrupted_jobs() == []


# ---------------------------------------------------------------- rebuilding


def test_a_new_store_is_filled_from_the_manifests_on_disk(agent: MemoryAgent, backend: Backend, tmp_path: Path) -> None:
    on_disk(tmp_path, "older", created="2026-01-01T00:00:00+00:00")
    on_disk(tmp_path, "renamed", None)
    on_disk(tmp_path, ".building-j")
    (tmp_path / "quantized-models" / "foreign").mkdir()
    assert agent.artifact_names() == ["renamed", "older"]
    shown = agent.show("older")
    assert (shown["size_bytes"], shown["compression_ratio"], shown["method"], shown["bits"], shown["type"]) == (
        1000, 4.0, "gguf", 4, "Q4_K_M",
    )  # fmt: skip
    assert shown["path"] == str(tmp_path / "quantized-models" / "older")
    assert shown["measurements"][0]["kl_mean"] == 0.002
    assert shown["receipt"]["perplexity"] == 8.5
    assert agent.list_records()[0]["present"] is True
    assert agent.model_ids() == ["org/model-7b"]
    assert make(backend, tmp_path).artifact_names() == ["renamed", "older"]


def test_rebuilding_twice_changes_nothing(agent: MemoryAgent, tmp_path: Path) -> None:
    from lqmf.artifacts.shelf import manifests_in

    on_disk(tmp_path, "a")
    before = agent.show("a")
    assert agent.rebuild(manifests_in(tmp_path / "quantized-models")) == 0
    assert agent.show("a") == before
    agent.forget("a")
    assert agent.rebuild(manifests_in(tmp_path / "quantized-models")) == 1


def test_a_corrupt_store_is_rebuilt_from_the_manifests_and_says_so(backend: Backend, tmp_path: Path) -> None:
    agent = make(backend, tmp_path)
    on_disk(tmp_path, "a")
    agent.remember_turn("s", "hello", Decision("help"), "done")
    assert agent.artifact_names() == ["a"]
    agent.close()
    for name in ("lqmf.db", "artifacts.jsonl"):
        if (tmp_path / "mcp" / name).exists():
            (tmp_path / "mcp" / name).write_bytes(b"garbage\n" * 1000)
    heard: list[str] = []
    again = make(backend, tmp_path, heard)
    assert again.artifact_names() == ["a"]
    assert len(heard) == 1
    assert "was corrupt" in heard[0]
    assert "corrupt-1" in heard[0]
    assert heard[0].endswith("1 artifact was read back from its manifest.")
    assert make(backend, tmp_path).artifact_names() == ["a"]


def test_corruption_met_in_the_middle_of_a_session_is_rebuilt_too(tmp_path: Path) -> None:
    heard: list[str] = []
    agent = make("json", tmp_path, heard)
    on_disk(tmp_path, "a")
    agent.remember_artifact(artifact("gone"))
    (tmp_path / "mcp" / "artifacts.jsonl").write_bytes(b"garbage\n")
    assert agent.artifact_names() == ["a"]
    assert len(heard) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1, "files": 2, "model": 3}', "\0", '{"plan": []}'])
def test_a_manifest_that_is_none_is_told_of_and_passed_over(tmp_path: Path, text: str) -> None:
    on_disk(tmp_path, "good")
    (tmp_path / "quantized-models" / "bad").mkdir()
    (tmp_path / "quantized-models" / "bad" / "manifest.json").write_text(text)
    heard: list[str] = []
    assert make("json", tmp_path, heard).artifact_names() == ["good"]
    assert len(heard) == 1
    assert "bad/manifest.json" in heard[0]


def test_a_store_that_fails_is_told_of_once_and_stops_no_job(tmp_path: Path) -> None:
    def refuse(_heard: Any) -> Store:
        raise StoreError("The disk is full.", "`lqmf disk`")

    bus = events.Bus()
    heard: list[str] = []

    def tell(text: str) -> None:
        heard.append(text)
        bus.publish(events.Notice(text=text))

    agent = MemoryAgent(refuse, tmp_path, notify=tell)
    bus.subscribe(agent.on_event)
    bus.publish(events.JobStarted(job="j", kind="quantize", title="t"))
    bus.publish(events.JobFinished(job="j", status="done", seconds=1.0))
    assert heard == ["This is not being recorded. The disk is full. `lqmf disk`"]
    with pytest.raises(StoreError):
        agent.list_records()
