"""The executor carries out a plan as one recorded job, tries again what can heal, and leaves nothing half-made."""

import asyncio
import dataclasses
import json
import time
from pathlib import Path

import pytest

from lqmf import events, workspace
from lqmf.agents.executor_agent import ExecutorAgent, Work
from lqmf.errors import (
    ConnectionBroken,
    DiskFull,
    GatedModel,
    GpuOutOfMemory,
    LqmfError,
    OutOfMemory,
    RateLimited,
    WorkerDied,
)
from lqmf.hardware import detect
from lqmf.jobs.runner import LocalRunner
from lqmf.model_files.describe import describe_folder
from lqmf.planning.planner import Planner, artifact_name
from lqmf.planning.request import PlanRequest
from lqmf.quantization.registry import backends
from lqmf.records import Estimate, ModelRef, Receipt, Request
from tests.fit.shapes import fitting

DEMO = Path(__file__).parents[2] / "lqmf" / "assets" / "demo"
MEASURED = Receipt(perplexity=9.0)
PLANNER = Planner(backends(), gpu_memory_limit_gb=8)


class ScriptedRunner:
    """Raises the errors it was given, one a call, then hands over to the real runner."""

    def __init__(self, *script: LqmfError) -> None:
        self.script = list(script)

    async def run(self, task, emit):
        if self.script:
            raise self.script.pop(0)
        return await LocalRunner().run(task, emit)


class Scene:
    """A workspace with an executor in it, and everything that it told."""

    def __init__(self, root: Path, runner=None, fetch_fails=(), receipt=MEASURED, **settings) -> None:
        self.place = workspace.at(root)
        self.told: list[events.Event] = []
        self.published: list[str] = []
        self.tested: list[Path | None] = []
        bus = events.Bus()
        bus.subscribe(self.told.append)
        self.fetch_fails, self.receipt = list(fetch_fails), receipt
        settings = {"max_retries": 2, **settings}
        self.agent = ExecutorAgent(
            self.place, bus, runner or LocalRunner(), self.fetch, lambda a, m, r: f"# {a.name}\n", **settings
        )
        info = describe_folder(ModelRef("demo", "demo"), DEMO)
        slots = {"type": "Q4_K_M", "cpu_fallback": True}
        plan = PLANNER.plan(PlanRequest(Request.of(slots), info, detect(), fitting()), "plan-1")
        folder = root / "work"
        folder.mkdir()
        self.work = Work(
            "job-1", plan, info, artifact_name(plan), folder, self.test, self.publish, PLANNER.on_cpu, lambda _info: 0
        )

    async def fetch(self, info, emit, job):
        if self.fetch_fails:
            raise self.fetch_fails.pop(0)
        return DEMO

    async def test(self, what, emit):
        path = what.base.path
        self.tested.append(path if path and path.exists() else None)
        return self.receipt

    def publish(self, artifact, manifest):
        self.published.append(artifact.name)

    def run(self, **changes):
        return asyncio.run(self.agent.execute(dataclasses.replace(self.work, **changes)))

    def of(self, kind):
        return [event for event in self.told if isinstance(event, kind)]

    @property
    def visible(self) -> list[str]:
        folder = self.place.artifacts
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


def test_a_job_ends_in_a_whole_artifact_whose_every_file_is_in_the_manifest(tmp_path):
    scene = Scene(tmp_path)
    artifact = scene.run()
    folder = Path(artifact.path)
    manifest = workspace.read_json(folder / "manifest.json")
    assert scene.visible == [artifact.name] == scene.published == ["demo_gguf_4bit_Q4_K_M"]
    assert {e["path"] for e in manifest["files"]} == {p.name for p in folder.iterdir()} - {"manifest.json"}
    assert all(workspace.sha256(folder / e["path"]) == e["sha256"] for e in manifest["files"])
    assert manifest["name"] == artifact.name
    assert {"lqmf", "python", "llama-cpp-python"} <= set(manifest["versions"])
    assert set(manifest["source_sha256"]) >= {"model.safetensors", "config.json"}
    assert artifact.compression_ratio == pytest.approx(artifact.source_size_bytes / artifact.size_bytes)
    assert scene.tested[0] is not None, "the source was there to measure against"
    assert (tmp_path / "configs" / f"{artifact.name}.json").exists()
    assert [e.status for e in scene.of(events.JobFinished)] == ["done"]


def test_a_job_whose_artifact_could_not_be_measured_is_not_done_and_its_stage_has_no_tick(tmp_path):
    scene = Scene(tmp_path, receipt=Receipt(reasons={"*": "the worker was ended by SIGKILL"}))
    assert scene.run().name in scene.visible
    [end] = scene.of(events.JobFinished)
    assert (end.status, end.result["artifact"]) == ("failed", "demo_gguf_4bit_Q4_K_M")
    assert "the worker was ended by SIGKILL" in end.error["message"]
    assert "`lqmf resume " in end.error["remedy"]
    assert [e.stage for e in scene.of(events.StageFinished) if not e.ok] == ["test"]


def test_a_second_run_gets_a_version_of_its_own(tmp_path):
    scene = Scene(tmp_path)
    scene.run(), scene.run()
    assert scene.visible == ["demo_gguf_4bit_Q4_K_M", "demo_gguf_4bit_Q4_K_M_v2"]
    second = workspace.read_json(tmp_path / "quantized-models" / "demo_gguf_4bit_Q4_K_M_v2" / "manifest.json")
    assert second["name"] == "demo_gguf_4bit_Q4_K_M_v2"


def test_what_can_heal_is_tried_again_and_each_attempt_is_told(tmp_path):
    limited = RateLimited("429", "", retry_after_seconds=0.01)
    scene = Scene(tmp_path, fetch_fails=[limited, limited])
    scene.run()
    assert [e.attempt for e in scene.of(events.JobStarted)] == [1, 2, 3]
    assert [e.attempt for e in scene.of(events.AttemptFailed)] == [1, 2]
    assert all(e.retry_in_seconds >= 0.01 for e in scene.of(events.AttemptFailed))


def test_retries_end_at_the_setting(tmp_path):
    scene = Scene(tmp_path, fetch_fails=[ConnectionBroken("cut", "")] * 9, max_retries=0)
    with pytest.raises(ConnectionBroken):
        scene.run()
    assert len(scene.of(events.JobStarted)) == 1
    assert scene.of(events.JobFinished)[0].error["code"] == "connection_broken"


@pytest.mark.parametrize("error", [GatedModel("gated", "log in"), WorkerDied("killed", "")])
def test_what_cannot_heal_fails_at_once_and_leaves_nothing(tmp_path, error):
    scene = Scene(tmp_path, runner=ScriptedRunner(error))
    with pytest.raises(type(error)):
        scene.run()
    assert scene.visible == []
    assert scene.published == []
    assert [e.status for e in scene.of(events.JobFinished)] == ["failed"]


def test_a_full_gpu_is_a_second_recorded_attempt_on_the_cpu(tmp_path):
    scene = Scene(tmp_path, runner=ScriptedRunner(GpuOutOfMemory("full", "")))
    plan = dataclasses.replace(scene.work.plan, device="gpu")
    artifact = scene.run(plan=plan)
    assert [e.attempt for e in scene.of(events.JobStarted)] == [1, 2]
    assert [e.error["code"] for e in scene.of(events.AttemptFailed)] == ["gpu_out_of_memory"]
    saved = json.loads((tmp_path / "configs" / f"{artifact.name}.json").read_text())
    assert saved["device"] == "cpu"


def test_without_the_fallback_a_full_gpu_ends_the_job(tmp_path):
    scene = Scene(tmp_path, runner=ScriptedRunner(GpuOutOfMemory("full", "")))
    with pytest.raises(GpuOutOfMemory):
        scene.run(plan=dataclasses.replace(scene.work.plan, device="gpu", cpu_fallback=False))


@pytest.mark.parametrize(
    ("estimate", "error"),
    [(Estimate(1, 1 << 60, 1), DiskFull), (Estimate(1, 1, 1 << 60), OutOfMemory)],
)
def test_what_does_not_fit_is_refused_before_anything_starts(tmp_path, estimate, error):
    scene = Scene(tmp_path)
    with pytest.raises(error) as caught:
        scene.run(plan=dataclasses.replace(scene.work.plan, estimate=estimate))
    assert caught.value.remedy
    assert not scene.of(events.StageStarted)


def test_a_cancelled_job_leaves_nothing_visible_and_says_so(tmp_path):
    scene = Scene(tmp_path)

    async def cancel_at_first_progress() -> None:
        running = asyncio.create_task(scene.agent.execute(scene.work))
        while not scene.of(events.Progress):
            await asyncio.sleep(0.01)
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel_at_first_progress())
    assert scene.visible == []
    assert [e.status for e in scene.of(events.JobFinished)] == ["cancelled"]


def test_a_failed_test_leaves_the_whole_artifact(tmp_path):
    scene = Scene(tmp_path)

    async def fail(what, emit):
        raise WorkerDied("killed in the test", "lqmf test")

    with pytest.raises(WorkerDied):
        scene.run(test=fail)
    assert scene.visible == ["demo_gguf_4bit_Q4_K_M"]


def test_the_16_bit_file_is_kept_when_asked(tmp_path):
    scene = Scene(tmp_path)
    scene.run(plan=dataclasses.replace(scene.work.plan, keep_16bit=True))
    assert [p.suffix for p in (tmp_path / "models" / "16bit").iterdir()] == [".gguf"]


def test_a_cancel_in_the_middle_of_publishing_leaves_a_whole_artifact_or_none(tmp_path, monkeypatch):
    scene = Scene(tmp_path)
    hashing = workspace.sha256

    def slow_hash(path):
        time.sleep(0.2)  # the window that a large model's hashing leaves open
        return hashing(path)

    monkeypatch.setattr(workspace, "sha256", slow_hash)

    async def cancel_at_publish() -> None:
        running = asyncio.create_task(scene.agent.execute(scene.work))
        while not any(e.stage == "publish" for e in scene.of(events.StageStarted)):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel_at_publish())
    for name in scene.visible:
        folder = tmp_path / "quantized-models" / name
        manifest = workspace.read_json(folder / "manifest.json")
        assert any(e["path"].endswith(".gguf") for e in manifest["files"])
        assert all(hashing(folder / e["path"]) == e["sha256"] for e in manifest["files"])


def test_a_server_that_wants_to_be_left_alone_for_a_day_is_not_waited_for(tmp_path):
    scene = Scene(tmp_path, fetch_fails=[RateLimited("429", "", retry_after_seconds=86_400.0)])
    with pytest.raises(RateLimited):
        scene.run()
    assert len(scene.of(events.JobStarted)) == 1


def test_attempts_are_numbered_through_retries_and_the_fall_back(tmp_path):
    broken, full = ConnectionBroken("cut", ""), GpuOutOfMemory("full", "")
    scene = Scene(tmp_path, runner=ScriptedRunner(full), fetch_fails=[broken])
    scene.run(plan=dataclasses.replace(scene.work.plan, device="gpu"))
    assert [e.attempt for e in scene.of(events.JobStarted)] == [1, 2, 3]
    assert [(e.attempt, e.error["code"]) for e in scene.of(events.AttemptFailed)] == [
        (1, "connection_broken"),
        (2, "gpu_out_of_memory"),
    ]


def test_a_gpu_that_is_full_in_the_test_alone_is_tested_again_on_the_cpu(tmp_path):
    scene = Scene(tmp_path)
    devices = []

    async def full_once(what, emit):
        devices.append(what.device)
        if len(devices) == 1:
            raise GpuOutOfMemory("full", "")
        return MEASURED

    scene.run(plan=dataclasses.replace(scene.work.plan, device="gpu"), test=full_once)
    assert devices == ["gpu", "cpu"]
    assert len(scene.visible) == 1
