"""A worker's death is told by its signal and its library, and in no words but those of the library that died."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lqmf.errors import WorkerDied
from lqmf.jobs import death
from lqmf.jobs.runner import LocalRunner
from lqmf.records import Task
from tests.fixtures_gguf import demo_gguf
from tests.ggml.shims import ABORT, GRAPH, TRAP, needs_preload, shim

CHATTER = """llama_model_loader: - kv 21: tokenizer.chat_template str = {% for message in messages %}
{{ raise_exception('GGML: an Error: what(): no roles') }}{% endfor %}
llama_context: n_ctx_seq (256) < n_ctx_train (2048)
"""
ASSERTION = "/src/ggml/src/ggml.c:1872: GGML_ASSERT(obj_new) failed"
STACK = """Fatal Python error: {what}

Thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 975 in run
Current thread 0x00007e (most recent call first):
  File "/venv/site-packages/{package}/nn/linear.py", line 7 in forward
  File "/lqmf/engines/llama/context.py", line 9 in decode
  File "/lqmf/jobs/worker.py", line 40 in main
"""


def told(tmp_path: Path, returncode: int, log: str) -> WorkerDied:
    (tmp_path / "job.log").write_text(log)
    error = death.died(returncode, tmp_path / "job.log")
    assert isinstance(error, WorkerDied)
    return error


async def ask(tmp_path: Path, environment: dict[str, str]) -> None:
    """One token of the demo model, from a worker of that environment."""
    params = {"artifact": str(demo_gguf()), "prompt": "def", "sampling": {"max_tokens": 1}, "device": "cpu"}
    task = Task("job-1", "generate", params, str(tmp_path / "job.log"))
    (tmp_path / "job.log").write_text(f"{ASSERTION}\n{CHATTER}")  # of an earlier worker of the same job
    await LocalRunner(environment).run(task, lambda _event: None)


@needs_preload
def test_a_worker_whose_llama_cpp_is_another_processors_names_the_command_that_heals_it(tmp_path: Path) -> None:
    with pytest.raises(WorkerDied) as caught:
        asyncio.run(ask(tmp_path, shim(tmp_path, GRAPH, TRAP)))
    assert caught.value.message == (
        "The worker process was ended by SIGILL: this llama.cpp was built for another processor."
    )
    assert caught.value.remedy == "`lqmf doctor --fix` builds llama.cpp anew for this processor."


@needs_preload
def test_an_assertion_that_failed_is_quoted_and_nothing_of_an_earlier_worker(tmp_path: Path) -> None:
    with pytest.raises(WorkerDied) as caught:
        asyncio.run(ask(tmp_path, shim(tmp_path, GRAPH, ABORT)))
    assert caught.value.message == (
        "The worker process was ended by SIGABRT: a library gave up on a failed assertion. "
        "It last said: shim.c:7: GGML_ASSERT(a == b) failed"
    )


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (CHATTER, ""),
        (f"{CHATTER}{ASSERTION}\n", ASSERTION),
        (f"{ASSERTION}\n{CHATTER}{STACK.format(what='Aborted', package='torch')}", ASSERTION),
        (
            f"{CHATTER}terminate called after throwing an instance of 'c10::Error'\n  what():  no kernel\n",
            "what():  no kernel",
        ),
        ("CUDA error: out of memory\n  current device: 0\n", "CUDA error: out of memory"),
        ("python: try.c:3: main: Assertion `a > b' failed.\n", "python: try.c:3: main: Assertion `a > b' failed."),
    ],
    ids=["chatter", "ggml", "a stack after it", "C++", "CUDA", "C"],
)
def test_only_what_a_library_says_as_it_gives_up_are_last_words(tmp_path: Path, log: str, words: str) -> None:
    assert death.last_words(log) == words
    quoted = f" It last said: {words}" if words else ""
    how = "was ended by SIGABRT: a library gave up on a failed assertion"
    assert told(tmp_path, -6, log).message == f"The worker process {how}.{quoted}"


@pytest.mark.parametrize("package", ["torch", "gptqmodel", "bitsandbytes"])
def test_another_library_that_meets_an_unknown_instruction_is_named_itself(tmp_path: Path, package: str) -> None:
    error = told(tmp_path, -4, CHATTER + STACK.format(what="Illegal instruction", package=package))
    assert f"this {package} was built for another processor" in error.message
    assert "doctor" not in error.remedy


def test_without_a_stack_the_likeliest_library_is_named_as_such(tmp_path: Path) -> None:
    error = told(tmp_path, -4, CHATTER)
    assert "most likely llama.cpp" in error.message
    assert "`lqmf doctor --fix`" in error.remedy


def test_a_kill_from_outside_has_no_last_words(tmp_path: Path) -> None:
    assert told(tmp_path, -9, f"{ASSERTION}\n").message.endswith("as the system does when memory runs out.")


def test_a_log_that_is_not_there_is_no_second_failure(tmp_path: Path) -> None:
    assert "status 3" in death.died(3, tmp_path / "none.log").message
