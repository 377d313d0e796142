"""Whatever is killed, at whatever stage: no record is lost, nothing half-made is visible, and the job can go on."""

import json
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import psutil
import pytest

from lqmf import forks, workspace
from tests.commands import command, environment
from tests.commands import document_here as document
from tests.commands import here as lqmf
from tests.fixtures_gguf import small_folder

pytestmark = pytest.mark.slow
STAGES = (
    "calibrate",
    "publish",
)  # of a download and a stream: tests/hub, tests/quantization/test_gguf_stream_resume.py
PATIENCE_SECONDS = 120.0
CALIBRATION = Path(workspace.__file__).parent / "assets" / "text" / "calibration.txt"


def events(root: Path) -> list[dict]:
    """Every event logged so far."""
    lines = [line for file in sorted((root / "logs").glob("*.jsonl")) for line in file.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def wait_for_stage(root: Path, chat: subprocess.Popen, stage: str) -> None:
    """Return as soon as the job tells of `stage`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and chat.poll() is None:
        if any(e["event"] == "StageStarted" and e["stage"] == stage for e in events(root)):
            return
        time.sleep(0.005)
    raise AssertionError(f"the job never came to '{stage}'")


def start(root: Path, *more: str, types: str = "Q4_K_M") -> subprocess.Popen:
    """Quantize by a calibration text that is this test's alone, so that its importance matrix is not known yet."""
    text = root / "calibration.txt"
    text.write_text(f"{uuid.uuid4()}\n" + CALIBRATION.read_text(encoding="utf-8")[:120_000], encoding="utf-8")
    return subprocess.Popen(
        command(root, "quantize", str(small_folder()), "--type", types, "--calibration", str(text), "--yes", *more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(root, **{forks.FOLDER_VARIABLE: ""}),  # a converter of its own, to see it end
    )


def visible(root: Path) -> list[Path]:
    folder = root / "quantized-models"
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def assert_whole(artifact: Path) -> None:
    """Every file that the manifest names is there and is what it says."""
    manifest = workspace.read_json(artifact / workspace.MANIFEST)
    assert manifest["name"] == artifact.name
    for entry in manifest["files"]:
        assert workspace.sha256(artifact / entry["path"]) == entry["sha256"], entry["path"]


def jobs(root: Path) -> list[dict]:
    return [row for row in document(root, "history")["history"] if row["kind"] == "job"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_chat_loses_nothing_and_its_job_can_be_resumed(tmp_path, stage):
    chat = start(tmp_path)
    wait_for_stage(tmp_path, chat, stage)
    family = psutil.Process(chat.pid).children(recursive=True)
    chat.kill()
    chat.wait()
    assert psutil.wait_procs(family, timeout=15)[1] == [], "the worker ends with the chat"
    for artifact in visible(tmp_path):
        assert_whole(artifact)

    next_start = lqmf(tmp_path, stdin="exit\n")
    job = jobs(tmp_path)[-1]
    assert job["status"] == "interrupted"
    assert job["id"] in next_start.stdout + next_start.stderr
    assert "resume" in next_start.stdout + next_start.stderr
    assert next_start.returncode == 0

    resumed = lqmf(tmp_path, "resume", "--yes")
    assert resumed.returncode == 0, resumed.stderr
    assert_finished(tmp_path, job["id"])


def assert_finished(root: Path, job: str) -> None:
    [artifact] = visible(root)
    assert_whole(artifact)
    assert workspace.read_json(artifact / workspace.RECEIPT)["kl_divergence"]["mean"] < 0.01
    assert [p.name for p in (root / "quantized-models").iterdir()] == [artifact.name]
    record = document(root, "show", job)
    assert record["status"] == "done"
    assert len(record["attempts_made"]) == 2
    assert [row["name"] for row in document(root, "list")["records"]] == [artifact.name]


@pytest.mark.parametrize("stage", ["quantize", "divergence"])
def test_a_killed_worker_is_told_of_and_leaves_nothing_half_made(tmp_path, stage):
    chat = start(tmp_path)
    wait_for_stage(tmp_path, chat, stage)
    for worker in psutil.Process(chat.pid).children():
        os.kill(worker.pid, signal.SIGKILL)
    chat.wait(timeout=PATIENCE_SECONDS)
    for artifact in visible(tmp_path):
        assert_whole(artifact)
    [job] = jobs(tmp_path)
    if stage == "divergence":  # the artifact was whole already: its receipt says what was not measured
        receipt = workspace.read_json(visible(tmp_path)[0] / workspace.RECEIPT)
        assert receipt["kl_divergence"] is None
        assert "SIGKILL" in receipt["reasons"]["kl_divergence"]
        return
    assert chat.returncode == 1
    assert job["status"] == "failed"
    assert "SIGKILL" in job["error"]["message"]
    assert visible(tmp_path) == []
    assert lqmf(tmp_path, "resume", "--yes").returncode == 0
    assert_finished(tmp_path, job["id"])


def test_ctrl_c_cancels_the_job_with_exit_130_and_it_can_be_resumed(tmp_path):
    chat = start(tmp_path)
    wait_for_stage(tmp_path, chat, "calibrate")
    chat.send_signal(signal.SIGINT)
    assert chat.wait(timeout=30) == 130
    assert visible(tmp_path) == []
    [job] = jobs(tmp_path)
    assert job["status"] == "cancelled"
    assert lqmf(tmp_path, "resume", job["id"], "--yes").returncode == 0
    assert_finished(tmp_path, job["id"])


def test_every_type_of_a_list_that_was_ended_is_made_by_resume(tmp_path):
    chat = start(tmp_path, "--test", "none", types="Q4_K_M,Q8_0")
    wait_for_stage(tmp_path, chat, "calibrate")
    chat.terminate()
    chat.wait()
    assert lqmf(tmp_path, "resume", "--yes").returncode == 0
    made = [workspace.read_json(artifact / workspace.MANIFEST)["plan"]["type"] for artifact in visible(tmp_path)]
    assert sorted(made) == ["Q4_K_M", "Q8_0"]
    assert lqmf(tmp_path, "resume").returncode == 1
    assert [job["status"] for job in jobs(tmp_path)] == ["done", "done"]


def test_the_same_command_again_after_a_kill_makes_the_artifact(tmp_path):
    chat = start(tmp_path)
    wait_for_stage(tmp_path, chat, "quantize")
    chat.kill()
    chat.wait()
    assert lqmf(tmp_path, "quantize", str(small_folder()), "--type", "Q4_K_M", "--yes").returncode == 0
    [artifact] = visible(tmp_path)
    assert_whole(artifact)
