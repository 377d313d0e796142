"""What installed packages list is read off their source, without importing them."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from lqmf import installed
from lqmf.quantization.registry import backend


def test_transformers_own_list_of_decoders_is_read_without_importing_it() -> None:
    """The same as the import gives: names may stand alone or in tuples."""
    from transformers.models.auto import modeling_auto

    known = installed.table("transformers", "models/auto/modeling_auto.py", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")
    for model_type, names in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items():
        assert known[model_type] == frozenset([names] if isinstance(names, str) else names)


def test_what_is_not_there_is_an_empty_table() -> None:
    assert installed.table("no_such_package", "a.py", "A") == {}
    assert installed.table("transformers", "no_such_file.py", "A") == {}


@pytest.mark.parametrize(("method", "module"), [("gptq", "gptqmodel"), ("gptq", "optimum"), ("bnb", "bitsandbytes")])
def test_a_missing_extra_names_the_exact_command(method: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str, *more: Any) -> Any:
        return None if name == module else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    verdict = backend(method).available()
    assert verdict.answer == "no"
    assert module in verdict.reason
    assert f"pip install 'lqmf[{method}]'" in verdict.remedy
