"""The cache's formula gives what libllama says it allocates, for every family that it knows.

`measured_caches.json` holds small models of each family and what libllama 0.3.36 logged for them, in MiB to two
decimals, one figure for each of its caches (docs/measured/fit-formulas.md tells how it was made).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.errors import UnsupportedModel, UsageError
from lqmf.model_files.config import BLOCKS, LayerCache, cache_bytes, layer_cache

MIB = 1 << 20
MEASURED = json.loads((Path(__file__).parent / "measured_caches.json").read_text(encoding="utf-8"))
MISTRAL = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}


@pytest.mark.parametrize("measured", MEASURED, ids=lambda measured: str(measured["family"]))
def test_every_family_takes_what_libllama_says(measured: dict[str, Any]) -> None:
    for told in measured["told"]:
        found = layer_cache(
            measured["config"],
            told["context"],
            told["k_type"],
            told["v_type"],
            parallel=told["parallel"],
            ubatch=told["ubatch"],
        )
        for part in ("keys", "values", "state"):
            rounding = 0.00501 * len(told[part])  # two decimals for each cache
            assert sum(getattr(layer, part) for layer in found) / MIB == pytest.approx(sum(told[part]), abs=rounding)


def test_a_7b_model_with_grouped_heads_takes_a_gibibyte_at_8192_tokens() -> None:
    assert layer_cache(MISTRAL, 8192, "f16", "f16")[0] == LayerCache(keys=16 * MIB, values=16 * MIB, state=0)
    assert cache_bytes(MISTRAL, 8192, "f16", "f16") == 1024 * MIB
    assert cache_bytes(MISTRAL, 32768, "q8_0", "q8_0") == 2176 * MIB  # 34 bytes for 32 values


def test_keys_and_values_may_be_cached_apart() -> None:
    mixed = layer_cache(MISTRAL, 8192, "q8_0", "q4_0")[0]
    assert (mixed.keys, mixed.values) == (8192 * 1024 * 34 // 32, 8192 * 1024 * 18 // 32)


@given(st.integers(1, 200_000), st.integers(1, 8), st.sampled_from(sorted(BLOCKS)))
def test_a_longer_context_and_another_chat_never_take_less(context: int, parallel: int, name: str) -> None:
    found = cache_bytes(MISTRAL, context, name, name, parallel=parallel)
    assert found == parallel * cache_bytes(MISTRAL, context, name, name)
    assert found <= cache_bytes(MISTRAL, context + 1, name, name, parallel=parallel)


@given(st.integers(1, 200_000), st.sampled_from([64, 128, 512]))
def test_a_window_never_holds_more_than_the_context(context: int, ubatch: int) -> None:
    gemma = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 2560}}
    gemma["text_config"] |= {"num_hidden_layers": 34, "sliding_window": 1024}  # type: ignore[operator]
    first, *_, last = layer_cache({**gemma}, context, "f16", "f16", ubatch=ubatch)[:6]
    assert first.keys <= last.keys
    assert first.keys <= (1024 + ubatch + 255) * 4 * 256 * 2


def test_heads_that_blocks_do_not_fit_are_refused_as_libllama_does() -> None:
    phi2 = {"model_type": "phi", "hidden_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 32}
    with pytest.raises(UsageError, match="heads have 80"):
        layer_cache(phi2, 2048, "q8_0", "f16")
    assert cache_bytes(phi2, 2048, "f16", "f16") == 2048 * 2560 * 2 * 2 * 32


def test_a_config_that_says_nothing_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedModel, match="num_hidden_layers"):
        cache_bytes({"model_type": "llama"}, 2048, "f16", "f16")
    with pytest.raises(UsageError, match="q3_9"):
        cache_bytes(MISTRAL, 2048, "q3_9", "f16")


def test_gemma_4s_unified_text_model_keeps_windows_as_its_plain_one_does() -> None:
    """Counted whole, as if each layer saw the whole context, its cache came out more than twice as large."""
    plain = next(one["config"] for one in MEASURED if one["family"] == "gemma4")
    unified = {"text_config": {**plain, "model_type": "gemma4_unified_text"}, "model_type": "gemma4_unified"}
    for context in (1000, 20_000):
        assert layer_cache(unified, context, "f16", "f16") == layer_cache(plain, context, "f16", "f16")
    blind = {**plain, "model_type": "llama"}
    assert cache_bytes(unified, 20_000, "f16", "f16") < cache_bytes(blind, 20_000, "f16", "f16") / 2
