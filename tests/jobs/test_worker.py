"""The worker dies alone: killed, cancelled or orphaned, the chat hears why and nothing runs on."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lqmf import forks
from lqmf.errors import JobError, LqmfError, WorkerDied, from_json
from lqmf.jobs import journal, runner
from lqmf.jobs.runner import LocalRunner
from lqmf.records import ModelRef, QuantizationPlan, Task, to_json
from tests.fixtures_gguf import demo_gguf

DEMO = Path(__file__).parents[2] / "lqmf" / "assets" / "demo"


PLAN = to_json(QuantizationPlan("p", ModelRef("demo", "demo"), None, "gguf", 4, "Q4_K_M", "gguf", "cpu"))


def conversion(folder: Path, job: str = "job-1") -> Task:
    """A real task of a few seconds: the demo model to a 16-bit GGUF."""
    params = {"plan": PLAN, "source": str(DEMO), "work": str(folder)}
    return Task(job, "convert", params, str(folder / "logs" / f"{job}.log"))


def divergence(folder: Path) -> Task:
    """A real task of a few seconds that runs transformers, in a fork: the demo model against itself."""
    text = Path(__file__).parents[2] / "README.md"
    params = {"artifact": str(DEMO), "base": str(DEMO), "text": str(text), "max_windows": 2, "window_tokens": 64}
    return Task("job-1", "divergence", params, str(folder / "logs" / "job-1.log"))


@pytest.fixture(params=[conversion, divergence], ids=["a new process", "a fork"])
def task(request, tmp_path: Path) -> Task:
    """A task for each way to carry one out, whose server has been started."""
    made = request.param(tmp_path)
    if runner.forkable(made):
        forks.reach(runner.server(), {}, tmp_path, quiet=True).close()
    return made


def workers(before: Collection[psutil.Process] = ()) -> list[psutil.Process]:
    """Processes that this test process started, but for those of `before` (a converter's server serves all tests), and
    that still live."""
    children = [p for p in psutil.Process().children(recursive=True) if p not in before]
    return [p for p in children if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


async def interrupted(task: Task, action) -> None:
    """Run `task`; as soon as it tells of a stage, do `action(running task)`."""
    running: asyncio.Task = asyncio.create_task(LocalRunner().run(task, lambda _event: action(running)))
    await running


def test_a_task_gives_its_result_and_its_events_bear_the_jobs_name(tmp_path):
    seen = []
    result = asyncio.run(LocalRunner().run(conversion(tmp_path), seen.append))
    assert Path(result["base"]).stat().st_size > 14_000_000
    assert {event.job for event in seen} == {"job-1"}
    assert not (tmp_path / "logs" / "job-1.lock").exists()


def test_a_models_files_are_checked_without_torch(tmp_path):
    """Its tokenizer loads transformers, which loads torch wherever that is installed, for several seconds."""
    params = {"artifact": str(demo_gguf("Q4_K_M")), "source": str(DEMO), "base": str(demo_gguf("F16"))}
    runner = LocalRunner({**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    found = asyncio.run(runner.run(Task("job-1", "structure", params, str(tmp_path / "log")), lambda event: None))
    assert len(found["checks"]) == 10
    assert all(check["passed"] for check in found["checks"])
    imported = {line.rpartition("|")[2].strip() for line in (tmp_path / "log").read_text().splitlines()}
    assert "transformers" in imported
    assert "torch" not in imported


def test_a_fork_gives_its_result_and_its_events_bear_the_jobs_name(tmp_path):
    seen = []
    result = asyncio.run(LocalRunner().run(divergence(tmp_path), seen.append))
    assert result["kl_divergence"]["mean"] == pytest.approx(0, abs=1e-6)
    assert {event.job for event in seen} == {"job-1"}
    assert not (tmp_path / "logs" / "job-1.lock").exists()


def test_where_the_server_cannot_start_a_process_of_its_own_does_the_work(tmp_path, monkeypatch):
    def dead(*_args, **_options) -> None:
        raise WorkerDied("It could not be started.", "")

    monkeypatch.setattr(forks, "reach", dead)
    task = divergence(tmp_path)
    task = replace(task, params={**task.params, "text": str(tmp_path / "none.txt")})
    with pytest.raises(LqmfError, match=r"none\.txt"):
        asyncio.run(LocalRunner().run(task, lambda _event: None))


def test_an_error_in_the_worker_arrives_as_its_own_type(tmp_path):
    task = Task(
        "job-1",
        "convert",
        {"plan": PLAN, "source": str(tmp_path / "none"), "work": str(tmp_path)},
        str(tmp_path / "l"),
    )
    with pytest.raises(LqmfError) as caught:
        asyncio.run(LocalRunner().run(task, lambda _event: None))
    assert caught.value.message
    assert type(caught.value) is type(from_json(caught.value.to_json()))


def test_an_unexpected_failure_names_the_log_that_has_the_details(tmp_path):
    task = Task("job-1", "no_such_task", {}, str(tmp_path / "job-1.log"))
    with pytest.raises(LqmfError) as caught:
        asyncio.run(LocalRunner().run(task, lambda _event: None))
    assert str(tmp_path / "job-1.log") in caught.value.remedy
    assert "no_such_task" in (tmp_path / "job-1.log").read_text()


def test_a_killed_worker_is_told_of_by_its_signal_and_leaves_no_child(task):
    before = workers()

    def kill(_running) -> None:
        for process in workers(before):
            os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(WorkerDied) as caught:
        asyncio.run(interrupted(task, kill))
    assert "SIGKILL" in caught.value.message
    assert workers(before) == []


def test_a_cancelled_worker_and_its_children_are_gone_when_the_cancel_returns(task):
    before = workers()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted(task, lambda running: running.cancel()))
    assert workers(before) == []


def test_the_worker_ends_when_the_chat_is_killed(tmp_path):
    program = (
        "import asyncio, sys\n"
        "from tests.jobs.test_worker import conversion\n"
        "from lqmf.jobs.runner import LocalRunner\n"
        "from pathlib import Path\n"
        "asyncio.run(LocalRunner().run(conversion(Path(sys.argv[1])), lambda e: print('event', flush=True)))\n"
    )
    chat = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert chat.stdout is not None
    assert chat.stdout.readline() == b"event\n"
    family = psutil.Process(chat.pid).children(recursive=True)
    assert family
    chat.kill()
    chat.wait()
    _gone, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_a_job_is_held_by_one_process_and_a_dead_ones_lock_is_taken_over(tmp_path):
    lock = tmp_path / "job.lock"
    with journal.hold(lock):
        with pytest.raises(JobError, match=str(os.getpid())), journal.hold(lock):
            pass
        assert lock.exists()
    assert not lock.exists()
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    lock.write_text(json.dumps({"owner_pid": dead.pid, "owner_started": time.time()}))
    with journal.hold(lock):
        assert str(os.getpid()) in lock.read_text()
    lock.write_text("torn")
    with journal.hold(lock):
        pass
    assert list(tmp_path.iterdir()) == []
