"""A backend is found because it is there: a module of the package, or an installed entry point."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from lqmf import quantization
from lqmf.errors import UsageError
from lqmf.quantization import registry


@pytest.fixture(autouse=True)
def forgotten() -> None:
    registry.backends.cache_clear()


def test_a_new_module_is_found_without_editing_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zzz_new.py").write_text("class New:\n    name = 'new'\nBACKEND = New\n")
    (tmp_path / "zzz_helper.py").write_text("")
    monkeypatch.setattr(quantization, "__path__", [*quantization.__path__, str(tmp_path)])
    assert {"gguf", "new"} <= set(registry.backends())
    registry.backends.cache_clear()


def test_an_installed_one_is_found_and_cannot_replace_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [SimpleNamespace(load=lambda name=name: lambda: SimpleNamespace(name=name)) for name in ("gguf", "theirs")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "lqmf.backends" else [])
    found = registry.backends()
    assert found["theirs"].name == "theirs"
    assert type(found["gguf"]).__name__ == "GgufBackend"
    registry.backends.cache_clear()


def test_an_unknown_method_is_refused_and_those_there_are_named() -> None:
    with pytest.raises(UsageError) as error:
        registry.backend("awq")
    assert "gguf" in error.value.remedy
