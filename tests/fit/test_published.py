"""Thirteen published models from their configurations alone: sizes as published, caches as the exact formula has them.

Nothing is fetched: their weights are holes, their tokenizers made up.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lqmf.fit.needs import Needs
from lqmf.model_files.config import cache_bytes
from lqmf.quantization.gguf.backend import GgufBackend
from lqmf.records import ModelInfo, ModelRef
from lqmf.workspace import CACHE_VARIABLE, cache_dir
from tests.fit import published
from tests.fit.published import Published
from tests.kinds import by_kind

pytestmark = pytest.mark.slow
CONTEXTS = (8192, 32768)
TYPES = ("Q4_K_M", "IQ4_XS", "Q8_0")
NAMES = published.names()
UNPACKED = "gpt-oss-20b, unpacked"  # its experts as BF16: what is packed already cannot be quantized
KINDS = {"deepseek-v2-lite", "gemma-3-4b", "gpt2", "llama-3.1-8b"}  # which stand for the others
SIZED = [(name, type) for name in NAMES for type in published.load(name).files]
Ask = Callable[[str], Needs]


def named(name: str) -> Published:
    if name != UNPACKED:
        return published.load(name)
    packed = published.load("gpt-oss-20b")
    config = {key: value for key, value in packed.config.items() if key != "quantization_config"}
    return dataclasses.replace(packed, config=config)


@pytest.fixture(scope="module")
def needs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """The needs of each model, asked of libllama once, in a cache of their own."""
    folder = tmp_path_factory.mktemp("published")
    tools, own = cache_dir(), folder / "cache"
    own.mkdir()
    for kept in tools.iterdir():
        if kept.name != "needs":
            (own / kept.name).symlink_to(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(own))
        yield functools.cache(lambda name: _ask(named(name), published.skeleton(named(name), folder / name)))


def _ask(model: Published, skeleton: Path) -> Needs:
    info = ModelInfo(
        ref=ModelRef("hub", model.model),
        commit=None,
        architecture=model.config["architectures"][0],
        model_type=model.config["model_type"],
        config=model.config,
        files=(),
        weights_bytes=0,
    )
    return GgufBackend().needs(info, skeleton, CONTEXTS, 1)


@pytest.mark.parametrize("name", by_kind(NAMES, KINDS))
def test_the_checkpoint_that_a_configuration_describes_has_the_published_number_of_parameters(name: str) -> None:
    model = published.load(name)
    assert published.parameters(published.tensors(model)) == model.parameters


@pytest.mark.parametrize(("name", "type"), by_kind(SIZED, {one for one in SIZED if one[0] in KINDS}))
def test_sizes_agree_with_a_published_file_within_two_percent(needs: Ask, name: str, type: str) -> None:
    told = published.load(name).files[type]
    size = told.get("bytes") or round(told["gb"] * 1e9)
    assert needs(name).weights[type].file_bytes == pytest.approx(size, rel=0.02), told["source"]


@pytest.mark.parametrize("name", by_kind(sorted({*NAMES, UNPACKED} - {"gpt-oss-20b"}), KINDS))
def test_every_model_has_a_size_as_each_type_and_they_are_in_order(needs: Ask, name: str) -> None:
    weights = needs(name).weights
    small, usual, large, half = (weights[type].file_bytes for type in ("IQ4_XS", "Q4_K_M", "Q8_0", "F16"))
    assert small < usual < large
    assert large / half == pytest.approx(8.5 / 16, rel=0.02)
    assert len(weights["Q4_K_M"].layers) == needs(name).layers


def test_what_is_packed_already_is_not_offered_as_another_type(needs: Ask) -> None:
    assert not set(TYPES) & set(needs("gpt-oss-20b").weights)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("name", by_kind(NAMES, KINDS))
def test_the_cache_is_the_exact_formulas(needs: Ask, name: str, context: int) -> None:
    found = needs(name)
    assert "f16" in found.cache_types
    for cache_type in found.cache_types:
        formula = cache_bytes(published.load(name).config, context, cache_type, cache_type)
        assert found.cache_bytes(context, cache_type, cache_type, 512) == formula
