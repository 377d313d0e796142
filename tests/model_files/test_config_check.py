"""A configuration of nonsense is refused in words before anything starts, at once; those of real models are not."""

from __future__ import annotations

import json
import time
from importlib import resources
from typing import Any

import pytest

from lqmf.errors import UnsupportedModel
from lqmf.model_files.config_check import refuse
from tests.fit import published

DEMO: dict[str, Any] = json.loads(resources.files("lqmf").joinpath("assets/demo/config.json").read_text())
NUMBERS = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")
NO_NUMBERS = ("text", "12", "", -1, 0, None, True, 1.5, float("nan"), float("inf"), [], {}, 10**10, 10**400)
MORE: list[dict[str, Any]] = [
    {"num_attention_heads": 7},
    {"num_attention_heads": 8, "num_key_value_heads": 3},
    {"num_key_value_heads": "all"},
    {"num_key_value_heads": 0},
    {"num_key_value_heads": [2]},
    {"vocab_size": 4_000_000},
    {"intermediate_size": float("nan")},
    {"intermediate_size": [64, "wide"]},
    {"max_position_embeddings": -4},
    {"max_position_embeddings": 10**30},
    {"rms_norm_eps": float("nan")},
    {"rms_norm_eps": "small"},
    {"rope_theta": float("inf")},
    {"rope_theta": 10**400},
    {"rope_parameters": {"rope_theta": "much"}},
    {"head_dim": -64},
    {"head_dim": {}},
    {"layer_types": ["full_attention"]},
    {"layer_types": 3},
    {"text_config": "yes"},
    {"text_config": {"num_hidden_layers": 10**9}},
    {"sliding_window": "wide"},
    {"num_local_experts": 1 << 40},
]
NONSENSE = [{name: value} for name in NUMBERS for value in NO_NUMBERS] + MORE


@pytest.mark.parametrize("change", NONSENSE, ids=lambda change: repr(change)[:60])
def test_nonsense_is_refused_by_field_value_and_what_is_possible(change: dict[str, Any]) -> None:
    began = time.process_time()
    with pytest.raises(UnsupportedModel) as refused:
        refuse({**DEMO, **change})
    assert time.process_time() - began < 0.1
    told = str(refused.value.message)
    assert told.startswith("config.json says ")
    assert ";" in told
    assert len(told) < 200


def test_there_are_sixty_of_them() -> None:
    assert len(NONSENSE) >= 60


def test_the_demo_and_published_models_pass() -> None:
    refuse(DEMO)
    for name in published.names():
        refuse(published.load(name).config)


def test_what_a_configuration_leaves_out_is_not_asked_for() -> None:
    refuse({"architectures": ["LlamaForCausalLM"], "model_type": "llama"})  # all that the Hub tells of a gated model


@pytest.mark.parametrize("change", [{"head_dim": None}, {"sliding_window": None}, {"num_key_value_heads": None}])
def test_null_stands_for_what_a_model_does_without(change: dict[str, Any]) -> None:
    refuse({**DEMO, **change})
