"""`import lqmf` is a library: it plans, makes, measures, finds and loads without a terminal, and starts light."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lqmf
from lqmf.errors import NotFound, UsageError
from tests.commands import environment
from tests.fixtures_gguf import small_folder

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "llama_cpp", "anthropic", "openai", "google.genai", "typer", "prompt_toolkit"}


def program(code: str, root: Path) -> str:
    """What a program in a process of its own prints, in the workspace `root`."""
    run = [sys.executable, "-c", code]
    env = environment(root, LQMF_HOME=str(root))
    return subprocess.run(run, capture_output=True, text=True, check=True, env=env, stdin=subprocess.DEVNULL).stdout


def test_a_plan_is_readable_and_imports_nothing_heavy(tmp_path):
    told = program("import lqmf, sys; print(lqmf.plan('demo', bits=4)); print(*sys.modules)", tmp_path)
    *plan, modules = told.splitlines()
    assert plan[0] == "demo as Q4_K_M, 4 bits"
    assert any(line.startswith("  type: Q4_K_M, ") for line in plan)
    assert HEAVY & set(modules.split()) == set()


def test_an_option_that_there_is_not_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="no option 'bit'") as error:
        lqmf.plan("demo", workspace=tmp_path, bit=4)  # type: ignore[call-arg]
    assert "'bits'" in error.value.remedy


def test_what_is_not_there_cannot_be_loaded(tmp_path):
    with pytest.raises(NotFound):
        lqmf.load("demo", workspace=tmp_path)


def test_the_room_of_artifacts_stays_a_package(tmp_path):
    import lqmf.artifacts.shelf

    assert lqmf.artifacts.shelf.find
    assert lqmf.artifacts(workspace=tmp_path) == ()


@pytest.mark.slow
def test_the_example_in_the_package_is_true(tmp_path, monkeypatch):
    monkeypatch.setenv("LQMF_HOME", str(tmp_path))
    failed, tried = doctest.testmod(lqmf)
    assert (failed, tried > 5) == (0, True)


@pytest.mark.slow
def test_the_example_in_the_readme_runs(tmp_path):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    smaller = code.replace('"demo"', repr(str(small_folder())))  # the same calls, on a model that takes less time
    assert smaller != code
    *_, said = program(smaller, tmp_path).strip().splitlines()
    assert said
