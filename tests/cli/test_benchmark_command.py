"""`lqmf benchmark` says what is wrong before anything runs, and gives one document of what it measured."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.fixtures_gguf import demo_gguf


@pytest.fixture
def demo(home) -> str:
    """A file that somebody dropped into the workspace."""
    folder = home / "quantized-models"
    folder.mkdir(parents=True)
    shutil.copy(demo_gguf("Q4_K_M"), folder / "dropped.gguf")
    return "dropped"


@pytest.fixture
def question(tmp_path) -> str:
    path = tmp_path / "mine.txt"
    path.write_text("What is a list?\n")
    return str(path)


def test_a_benchmark_is_one_document_on_stdout_and_a_file(run, home, demo, question):
    done = run("benchmark", demo, "--prompts", question, "--parallel", "2", "--json")
    assert done.code == 0
    document = json.loads(done.out)
    assert document["status"] == "done"
    assert json.loads((home / "benchmarks" / document["path"].rsplit("/", 1)[1]).read_text())["kind"] == "benchmark"
    assert document["benchmark"]["prompts"]["asked"] == 1
    assert {row["parallel"] for row in document["benchmark"]["speed"]} == {1, 2}
    assert "not known" in document["benchmark"]["reasons"]["source"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--quick", "--comprehensive"), "exclude each other"),
        (("--prompts", "missing.txt"), "cannot be read"),
        (("--parallel", "0"), "number of chats"),
        (("--tasks", " , "), "No task was named"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_runs(run, home, demo, options, said):
    refused = run("benchmark", demo, *options)
    assert refused.code == 2
    assert said in " ".join(refused.err.split())
    assert not (home / "benchmarks").exists()


def test_tasks_without_the_harness_name_the_command_that_installs_it(run, home, demo, monkeypatch):
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == "lm_eval" else real(name, *a))
    refused = run("benchmark", demo, "--tasks", "hellaswag", "--json")
    assert refused.code == 2
    assert json.loads(refused.out)["error"]["remedy"] == "pip install 'lqmf[evaluate]'"
    assert not (home / "benchmarks").exists()


def test_a_name_that_there_is_not_and_an_embedding_model_that_is_gone_are_told(run, home, demo, question):
    assert run("benchmark", "nothing-like-it").code == 1
    run("config", "set", "embedding_model", "gone.gguf")
    refused = run("benchmark", demo, "--prompts", question)
    assert refused.code == 2
    assert "no embedding model at" in " ".join(refused.err.split())
