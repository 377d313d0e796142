"""`lqmf doctor` finds out whether llama.cpp runs here and answers rightly, and names the command that heals it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Ran
from tests.ggml.shims import LIE, PRODUCT, TRAP, needs_preload, shim

Run = Callable[..., Ran]


def llama_cpp(ran: Ran) -> Any:
    return next(check for check in ran.document["checks"] if check["name"] == "llama-cpp-python")


def test_a_sound_llama_cpp_is_told_with_how_much_was_computed(run: Run) -> None:
    check = llama_cpp(run("doctor", "--json"))
    assert check["state"] == "ok"
    assert check["detail"].endswith("results are right")


@needs_preload
@pytest.mark.parametrize(
    ("body", "fault"), [(TRAP, "an instruction that this processor"), (LIE, "its answers are wrong")]
)
def test_one_that_dies_or_answers_wrongly_is_told_and_the_remedy_is_a_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, fault: str
) -> None:
    monkeypatch.setenv("LD_PRELOAD", shim(tmp_path, PRODUCT, body)["LD_PRELOAD"])
    ran = run("doctor", "--json")
    check = llama_cpp(ran)
    assert ran.code == 1
    assert check["state"] == "missing"
    assert fault in check["detail"]
    assert "Q5_K" in check["detail"]
    assert "`lqmf doctor --fix`" in check["remedy"]


def test_fixing_what_is_sound_builds_nothing(run: Run) -> None:
    ran = run("doctor", "--fix", "--json")
    assert llama_cpp(ran)["state"] == "ok"
    assert "Compiling" not in ran.err
