"""Every command is one file that says what it does, is imported only when used, and carries out its intents."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from lqmf.cli import registry, spoken, tree
from lqmf.records import Decision

INTENTS = """
quantize plan preflight test benchmark compare list show stats history delete verify rebuild report docs chat experiment
finetune adapters serve publish sweep hf_login hf_status hf_logout llm_status llm_switch config doctor demo explain help
cancel resume exit clear
"""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", registry.builtin_names())
def test_a_command_is_named_after_its_file_and_says_what_it_does_with_examples(name: str) -> None:
    command = registry.load(name).COMMAND
    assert command.name == name
    assert 10 < len(command.summary) < 70
    assert command.examples
    text = tree.help_text(name)
    assert command.examples[0] in text
    assert "--json" in text


@pytest.mark.parametrize("name", registry.builtin_names())
def test_the_examples_of_a_command_parse(name: str) -> None:
    """Those that are plain `lqmf NAME ..` lines, as typed in a shell."""
    import shlex

    lines = [shlex.split(line.split(" < ")[0].split(" > ")[0]) for line in registry.load(name).COMMAND.examples]
    for words in lines:
        if words[:2] == ["lqmf", name]:
            invocation = tree.read(words[1:])
            assert invocation.module is registry.load(name), words
            assert isinstance(invocation.decision, Decision)


@pytest.mark.parametrize("name", ["config", "hf"])
def test_each_subcommand_has_an_example_of_its_own_in_its_help(name: str) -> None:
    for sub, command in tree.leaf(name).commands.items():
        examples = [line for line in registry.load(name).COMMAND.examples if f"{name} {sub}" in line]
        assert examples, f"{name} {sub}"
        assert examples[0] in command.epilog


def test_every_intent_has_one_command_or_is_said_to_be_missing() -> None:
    owners = Counter(intent for command in tree.commands() for intent in command.intents)
    assert all(count == 1 for count in owners.values())
    for intent in INTENTS.split():
        assert (registry.for_intent(intent) is not None) != (intent in spoken.NOT_BUILT), intent


@pytest.mark.parametrize("name", registry.builtin_names())
def test_a_command_has_an_operation_that_knows_no_terminal_and_a_view_of_its_record(name: str) -> None:
    module = registry.load(name)
    run = registry.operation(module)
    assert list(inspect.signature(run).parameters) == ["app", "request", "ask"]
    assert len(inspect.signature(module.view).parameters) == 1
    at_the_terminal = {"clear", "completion", "docs", "exit", "help", "parse"}  # a server has none
    assert (run.__module__ == f"lqmf.operations.{name}") != (name in at_the_terminal)


def test_a_missing_part_is_not_offered_in_the_help() -> None:
    offered = {command.name for command in tree.commands()}
    assert not offered & set(spoken.NOT_BUILT)


def test_using_one_command_imports_no_other() -> None:
    code = "import sys; from lqmf.cli import tree; tree.read(['stats']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [m for m in loaded if m.startswith("lqmf.cli.commands.")] == ["lqmf.cli.commands.stats"]


def test_a_third_party_adds_a_command_through_an_entry_point(tmp_path: Path) -> None:
    """One installed file with COMMAND, cli, run and view: it is found, listed, and reached by its own intent."""
    (tmp_path / "greet.py").write_text(
        "from lqmf.cli.command import Command\n"
        "from dataclasses import dataclass\n"
        "from lqmf.operations.result import Result\n"
        "from lqmf.records import Decision\n"
        "COMMAND = Command('greet', 'greet somebody', intents=('greet',), examples=('lqmf greet',), order=900,\n"
        "                  remembered=False, needs_app=False)\n"
        "def cli(name: str) -> Decision:\n"
        '    """Greet."""\n'
        "    return Decision('greet', {'name': name})\n"
        "@dataclass(frozen=True)\n"
        "class Greeted(Result):\n"
        "    greeted: str\n"
        "async def run(app, request, ask):\n"
        "    ask.show(Greeted('somebody'))\n"
        "    return Greeted(request.name)\n"
        "def view(found):\n"
        "    return f'Hello, {found.greeted}!'\n"
    )
    info = tmp_path / "greet-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lqmf.commands]\ngreet = greet\n")
    run = [sys.executable, "-m", "lqmf", "greet", "Ada", "--json"]
    path = f"{tmp_path}:{ROOT}"
    told = subprocess.run(
        run, capture_output=True, text=True, check=True, env={"PYTHONPATH": path, "HOME": str(tmp_path)}
    )
    assert json.loads(told.stdout) == {"greeted": "Ada"}
    assert told.stderr == "Hello, somebody!\n"
    listed = subprocess.run([*run[:3], "--help"], capture_output=True, text=True, check=True, env={"PYTHONPATH": path})
    assert "greet somebody" in listed.stdout


def test_the_readme_names_every_command_and_no_other() -> None:
    """Documentation that drifts fails."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `lqmf ([a-z]+)[^`]*` \|", text, re.MULTILINE))
    assert named == set(registry.builtin_names())


def test_the_console_script_is_main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"lqmf": "lqmf.cli.main:main"}


def test_where_force_answers_yes_is_not_offered() -> None:
    for name in registry.builtin_names():
        told = tree.help_text(name)
        assert ("--yes" in told) != ("--force" in told), name
