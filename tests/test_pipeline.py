"""The pipeline keeps what the user said through questions and corrections, and takes up no job that runs."""

import asyncio
import dataclasses
import shutil
import time

import pytest

from lqmf.app import App
from lqmf.errors import JobCancelled, JobError, LqmfError, UsageError
from lqmf.jobs.journal import hold
from lqmf.model_files.refs import DEMO_FOLDER
from lqmf.operations import resume, test
from lqmf.records import Decision, Job, Utterance, to_json
from lqmf.understanding.answers import answer


class Typed:
    """Answers questions with lines, as typed; objects when a line is left over."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.asked: list[str] = []

    interactive = False

    def show(self, record):
        """Nobody looks."""

    async def __call__(self, question):
        self.asked.append(question.id)
        line = self.lines.pop(0)
        reply = answer(question, line)
        return dataclasses.replace(reply, value=line) if reply.kind == "other" else reply


@pytest.fixture
def app(tmp_path):
    made = App.create(str(tmp_path), {}, tmp_path, {})
    yield made
    made.close()


def plans(app: App, said: str, *lines: str):
    """The plans for a sentence whose questions are answered with `lines`."""
    ask = Typed(*lines)
    decision = app.understanding.decide(Utterance(said))
    planned = asyncio.run(app.planning.plan(decision.request, ask))
    assert ask.lines == []
    return [one.plan for one in planned], ask.asked


def test_an_answer_fills_the_gap_and_nothing_else_changes(app):
    [plan], asked = plans(app, "quantize demo to 4 bits for cpu with 1k context", "Q4_0")
    assert (plan.type, plan.bits, plan.device, plan.context) == ("Q4_0", 4, "cpu", 1024)
    assert asked == ["type"]


def test_a_correction_at_a_question_changes_the_wish_and_keeps_the_rest(app):
    [plan], asked = plans(app, "quantize demo to 4 bits with 1k context", "no, 8 bits")
    assert (plan.type, plan.bits, plan.context) == ("Q8_0", 8, 1024)
    assert asked == ["type"]


def test_another_model_at_a_question_is_the_one_that_is_planned(app, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(DEMO_FOLDER, other)
    [plan], asked = plans(app, "quantize demo to 4 bits", f"no, {other}", "yes")
    assert plan.model.path == str(other)
    assert asked == ["type", "type"]


def test_back_takes_the_last_answer_back(app):
    [plan], asked = plans(app, "quantize demo to 4 bits for gpu", "Q4_0", "back", "Q4_1", "yes")
    assert plan.type == "Q4_1"
    assert asked == ["type", "cpu_fallback", "type", "cpu_fallback"]


def test_back_takes_a_correction_back_too(app):
    [plan], _ = plans(app, "quantize demo to 4 bits", "no, 5 bits", "back", "Q4_1")
    assert plan.type == "Q4_1"


def test_a_contradiction_settled_by_the_recommendation_is_not_called_the_users_answer(app):
    [plan], asked = plans(app, "quantize demo to Q8_0 in 4 bits", "yes")
    assert (plan.type, plan.bits, asked) == ("Q8_0", 8, ["bits"])
    sources = {choice.name: choice.source for choice in plan.choices}
    assert (sources["type"], sources["bits"]) == ("rules", "rules")


def test_no_to_what_everything_hangs_on_changes_nothing(app, tmp_path):
    with pytest.raises(JobCancelled):
        plans(app, "quantize demo to Q4_K_M for gpu", "no")
    assert not (tmp_path / "quantized-models").exists()


def test_a_list_of_types_is_a_plan_for_each(app):
    decision = Decision("quantize", {"model": "demo", "type": "Q4_K_M,Q8_0"})
    planned = asyncio.run(app.planning.plan(decision.request, Typed()))
    assert [one.plan.type for one in planned] == ["Q4_K_M", "Q8_0"]


def test_a_job_that_runs_is_not_taken_up_a_second_time(app, tmp_path):
    [plan], _ = plans(app, "quantize demo to Q4_K_M")
    app.memory.start_job(Job("job-1", "quantize", "demo", "running", to_json(plan), started_at=time.time()))
    with pytest.raises(UsageError, match="is running"):
        asyncio.run(resume.run(app, Decision("resume", {"job": "job-1"}).request, Typed()))


def test_two_that_resume_at_once_do_not_touch_one_anothers_work(app, tmp_path):
    [plan], _ = plans(app, "quantize demo to Q4_K_M")
    job = Job("job-1", "quantize", "demo", "failed", to_json(plan), started_at=time.time())
    app.memory.start_job(job)
    app.memory._change("jobs", "job-1", {"status": "failed"})
    place = tmp_path / "quantized-models" / ".building-job-1"
    place.mkdir(parents=True)
    with hold(tmp_path / "logs" / "job-1.job.lock"), pytest.raises(JobError, match="working on this job"):
        asyncio.run(resume.run(app, Decision("resume", {"job": "job-1"}).request, Typed()))
    assert place.is_dir()


def test_an_artifacts_manifest_gives_no_leave_to_run_a_models_python(app, tmp_path):
    """A stranger's artifact names a source with Python of its own, and says that it may be run."""
    [plan], _ = plans(app, "quantize demo to Q4_K_M")
    source, proof = tmp_path / "source", tmp_path / "ran"
    shutil.copytree(DEMO_FOLDER, source)
    config = (source / "config.json").read_text().replace('"model_type": "llama"', '"model_type": "evil"')
    config = config.replace("LlamaForCausalLM", "EvilForCausalLM")
    auto = '{"auto_map": {"AutoConfig": "evil.Config", "AutoTokenizer": ["evil.Tokenizer", null]}, '
    (source / "config.json").write_text(auto + config.lstrip()[1:])
    (source / "evil.py").write_text(f"open({str(proof)!r}, 'w').write('ran')\n")
    artifact = tmp_path / "quantized-models" / "stranger_gguf_4bit_Q4_K_M"
    artifact.mkdir(parents=True)
    shutil.copy(DEMO_FOLDER / "config.json", artifact / "weights.gguf")
    from lqmf import workspace

    manifest = {
        "format_version": 1,
        "name": artifact.name,
        "model": {"kind": "local", "id": "source", "path": str(source)},
        "commit": None,
        "source_sha256": {},
        "plan": {**to_json(plan), "allow_remote_code": True},
        "files": workspace.file_entries(artifact),
        "versions": {},
        "created_at": "2026-01-01T00:00:00+00:00",
        "source_size_bytes": 1,
    }
    workspace.write_json(artifact / "manifest.json", manifest)
    with pytest.raises(LqmfError):
        asyncio.run(test.run(app, Decision("test", {"name": artifact.name, "test": "quick"}).request, Typed()))
    assert not proof.exists()
