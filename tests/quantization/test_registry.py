"""A backend is found because it is there: a module of the package, or an installed entry point."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lqmf import quantization
from lqmf.declared import entry_points, methods
from lqmf.declared.methods import BNB
from lqmf.errors import UsageError
from lqmf.quantization import registry
from lqmf.quantization.bitsandbytes import BitsAndBytesBackend


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What is declared and found, read anew before and after."""
    for _ in ("before", "after"):
        for cached in (entry_points.points, methods.offered, methods.known, registry.backends):
            cached.cache_clear()
        entry_points._faults.clear()
        entry_points._told.clear()
        if _ == "before":
            yield


class Theirs(BitsAndBytesBackend):
    """A backend as another package has it."""

    declared = dataclasses.replace(BNB, name="theirs")
    name = "theirs"


def install(monkeypatch: pytest.MonkeyPatch, **factories: Any) -> None:
    points = [EntryPoint(name, f"theirs:{name}", "lqmf.backends") for name in factories]
    monkeypatch.setattr(EntryPoint, "load", lambda self: factories[self.name])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "lqmf.backends" else [])


def test_a_new_module_is_found_without_editing_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zzz_new.py").write_text("class New:\n    name = 'new'\nBACKEND = New\n")
    (tmp_path / "zzz_helper.py").write_text("")
    monkeypatch.setattr(quantization, "__path__", [*quantization.__path__, str(tmp_path)])
    assert {"gguf", "new"} <= set(registry.backends())


def test_an_installed_one_is_found_and_cannot_replace_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, theirs=Theirs, gguf=Theirs)
    found = registry.backends()
    assert found["theirs"].name == "theirs"
    assert type(found["gguf"]).__name__ == "GgufBackend"
    assert methods.of("theirs").title == "bitsandbytes"


def test_a_broken_one_is_told_once_by_name_and_hurts_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise RuntimeError("no such kernel")

    install(monkeypatch, theirs=Theirs, raising=fails, lacking=lambda: SimpleNamespace(name="lacking"))
    assert set(registry.backends()) == {"gguf", "gptq", "bnb", "theirs"}
    told = entry_points.untold()
    assert len(told) == 2
    assert "'raising'" in told[0]
    assert "no such kernel" in told[0]
    assert "'lacking'" in told[1]
    assert "default_type" in told[1]
    assert entry_points.untold() == []


def test_an_unknown_method_is_refused_and_those_there_are_named() -> None:
    with pytest.raises(UsageError) as error:
        registry.backend("awq")
    assert "gguf" in error.value.remedy
