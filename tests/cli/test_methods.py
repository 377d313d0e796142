"""Methods on the command line: their settings, and what happens where one is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from lqmf.quantization.registry import backends
from tests.cli.conftest import Ran


@pytest.fixture
def without_gptq(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra `gptq`."""
    find = importlib.util.find_spec

    def search(name: str, *more: Any) -> Any:
        return None if name == "gptqmodel" else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", search)


@pytest.mark.usefixtures("without_gptq")
@pytest.mark.parametrize("command", [("quantize", "demo", "--yes"), ("quantize", "demo"), ("plan", "demo")])
def test_a_missing_extra_ends_a_command_with_what_to_install(run: Callable[..., Ran], command: tuple[str, ...]) -> None:
    """Also with --yes: nothing else is made unasked."""
    ran = run(*command, "--method", "gptq", "--json")
    assert ran.code == 2
    assert "gptqmodel is not installed" in ran.document["error"]["message"]
    assert "pip install 'lqmf[gptq]'" in ran.document["error"]["remedy"]


@pytest.mark.usefixtures("without_gptq")
def test_in_the_chat_the_methods_that_are_there_are_offered(run: Callable[..., Ran]) -> None:
    ran = run(stdin="quantize demo to 4 bits with gptq\ncancel\nexit\n")
    text = " ".join((ran.out + ran.err).split())
    assert "pip install 'lqmf[gptq]'" in text
    for name in backends().keys() - {"gptq"}:
        assert f"{name}: {backends()[name].title}" in text


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (("--set", "group_size"), "is no setting"),
        (("--set", "group_size=33"), "group_size cannot be '33'"),
        (("--set", "threshold=5"), "has no parameter 'threshold'"),
        (("--set", "damp_percent=2"), "damp_percent cannot be '2'"),
    ],
)
def test_a_setting_that_cannot_be_is_told_before_any_work(
    run: Callable[..., Ran], said: tuple[str, ...], problem: str
) -> None:
    ran = run("plan", "demo", "--method", "gptq", *said, "--json")
    assert ran.code == 2
    assert problem in ran.document["error"]["message"]
    assert ran.document["error"]["remedy"]


def test_a_plan_shows_the_methods_own_settings_and_the_purpose_decides_the_method(run: Callable[..., Ran]) -> None:
    plan = run("plan", "demo", "--method", "gptq", "--set", "group_size=64", "--json").document["plan"]
    assert (plan["method"], plan["bits"], plan["parameters"]["group_size"]) == ("gptq", 4, 64)
    plan = run("plan", "demo", "--for", "finetune", "--json").document["plan"]
    assert (plan["method"], plan["type"]) == ("bnb", "nf4")
    assert "QLoRA" in next(choice["reason"] for choice in plan["choices"] if choice["name"] == "method")
