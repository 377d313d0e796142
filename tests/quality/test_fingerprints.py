"""Tensors are told apart by a sample of their weights, whatever they were rounded to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from lqmf.quality.checks import fingerprints
from lqmf.quality.checks.tensors import _bits, tensors
from tests.fixtures_gguf import DEMO, demo_gguf
from tests.fixtures_safetensors import demo_folder

RANDOM = np.random.default_rng(7)
WEIGHTS = {f"blk.{layer}.attn_q.weight": RANDOM.normal(size=(64, 128)) for layer in range(6)}
WEIGHTS |= {f"blk.{layer}.attn_norm.weight": 1 + 0.1 * RANDOM.normal(size=(1, 128)) for layer in range(6)}


class Held:
    """Tensors that are arrays."""

    unread = ""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.shapes = {name: array.shape for name, array in arrays.items()}

    def rows(self, name, places, columns):
        return self.arrays[name][places, :columns]


def rounded(array: np.ndarray, levels: int) -> np.ndarray:
    """To the nearest of so many levels: what few bits leave."""
    step = 2 * np.abs(array).max() / levels
    return np.round(array / step) * step


def found(**changes):
    return fingerprints.compare(Held({**WEIGHTS, **changes}), Held(WEIGHTS))


@pytest.mark.parametrize("levels", [4, 8, 256])
def test_rounded_weights_are_still_the_sources(levels):
    few = {name: rounded(array, levels) if len(array) > 1 else array for name, array in WEIGHTS.items()}
    assert all(check.passed for check in fingerprints.compare(Held(few), Held(WEIGHTS)).checks())


def test_a_tensor_in_anothers_place_is_named_with_that_place():
    one, two = "blk.1.attn_q.weight", "blk.4.attn_q.weight"
    differs = found(**{one: WEIGHTS[two], two: WEIGHTS[one]})
    assert differs.misplaced == {one: two, two: one}
    assert differs.strange == {}
    assert not differs.alien


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda array: array * 0, "is zero"),
        (lambda array: array * 3, "is 3 times the source's"),
        (lambda array: -array, "is not the source's"),
        (lambda array: np.roll(array, 1, axis=1), "is not the source's"),
        (lambda array: np.where(array > 2, np.nan, array), "holds NaN or infinity"),
    ],
)
def test_weights_that_are_not_the_sources_are_told_how(change, told):
    name = "blk.2.attn_q.weight"
    assert told in found(**{name: change(WEIGHTS[name])}).strange[name]


def test_a_vector_must_be_nearly_the_same():
    name = "blk.2.attn_norm.weight"
    assert found(**{name: WEIGHTS[name] * 1.01}).strange == {}
    assert "differs from the source's by 10%" in found(**{name: WEIGHTS[name] * 1.1}).strange[name]


def test_what_is_missing_or_of_another_shape_is_told_and_most_of_it_makes_another_model():
    few = dict(list(WEIGHTS.items())[:3])
    differs = fingerprints.compare(Held(few), Held(WEIGHTS))
    assert len(differs.lacking) == 9
    assert differs.alien
    name = "blk.0.attn_q.weight"
    assert found(**{name: WEIGHTS[name][:32]}).reshaped == (name,)


# ---------------------------------------------------------------- folders, whose names are libraries' own

MLP = RANDOM.normal(size=(6, 128, 64))
FUSED = {**WEIGHTS, **{f"blk.{n}.gate_up.weight": one for n, one in enumerate(MLP)}}
SPLIT = {f"blk.{n}.gate.weight": one[:64] for n, one in enumerate(MLP)}
SPLIT |= {f"blk.{n}.up.weight": one[64:] for n, one in enumerate(MLP)} | WEIGHTS


def between_folders(artifact, source):
    found = fingerprints.compare(Held(artifact), Held(source), folders=True)
    return {check.name: check.detail for check in found.checks() if not check.passed}, found


def without(arrays, *names):
    return {name: array for name, array in arrays.items() if name not in names}


def test_what_is_fused_in_the_source_and_split_in_the_artifact_is_not_judged_and_says_so():
    wrong, found = between_folders(SPLIT, FUSED)
    assert wrong == {}
    assert found.checks() == []
    assert found.reason.endswith("and 3 more: stored under other names")
    assert not found.alien


def test_experts_whose_biases_are_rows_of_one_matrix_may_be_vectors_of_their_own():
    stacked = {**WEIGHTS, "experts.up": MLP.reshape(-1, 64), "experts.up_bias": MLP[:, :, 0]}
    apart = {f"experts.{n}.up.weight": one for n, one in enumerate(MLP)}
    apart |= {f"experts.{n}.up.bias": one[:, :1].T for n, one in enumerate(MLP)} | WEIGHTS
    wrong, found = between_folders(apart, stacked)
    assert (wrong, found.elsewhere) == ({}, ("experts.up", "experts.up_bias"))


def test_a_bias_that_was_added_stands_for_nothing_that_is_missing():
    more = {name.replace(".weight", ".bias"): np.zeros((1, 64)) for name in WEIGHTS}
    lacking = without({**WEIGHTS, **more}, "blk.2.attn_norm.weight")
    assert "blk.2.attn_norm.weight: not there" in between_folders(lacking, WEIGHTS)[0]["source_weights"]


def test_damage_is_told_all_the_same_where_other_tensors_have_other_names():
    zeroed = {**SPLIT, "blk.2.attn_q.weight": WEIGHTS["blk.2.attn_q.weight"] * 0}
    assert "blk.2.attn_q.weight is zero" in between_folders(zeroed, FUSED)[0]["source_weights"]
    for name in ("blk.2.attn_q.weight", "blk.2.attn_norm.weight", "blk.4.up.weight"):
        assert "not there" in between_folders(without(SPLIT, name), FUSED)[0]["source_weights"], name


def test_a_word_before_all_names_is_no_difference_and_hides_none():
    """As "transformer." of GPT-2, whose first checkpoints lack it."""
    longer = {f"transformer.{name}": array for name, array in WEIGHTS.items()}
    for artifact, source in ((longer, WEIGHTS), (WEIGHTS, longer)):
        wrong, found = between_folders(artifact, source)
        assert (wrong, found.compared) == ({}, len(WEIGHTS))
        assert "not there" in between_folders(without(artifact, list(artifact)[2]), source)[0]["source_weights"]


def test_buffers_heads_and_repeated_matrices_may_be_missing_from_a_folder():
    aside = {f"blk.0.{name}": np.ones((1, 8)) for name in ("rotary_emb.inv_freq", "attn.masked_bias", "attn.bias")}
    aside |= {"lm_head.bias": np.ones((1, 8)), "decoder.words.weight": WEIGHTS["blk.0.attn_q.weight"]}
    assert between_folders(WEIGHTS, {**WEIGHTS, **aside})[0] == {}
    assert between_folders({**WEIGHTS, **aside}, WEIGHTS)[0] == {}


def test_numbers_of_any_width_come_out_of_packed_words_as_they_went_in():
    for bits in (2, 3, 4, 8):
        numbers = RANDOM.integers(0, 1 << bits, size=(64, 5))
        words = np.zeros((64 * bits // 32, 5), np.uint32)
        for place in range(64):
            for bit in range(bits):
                at = place * bits + bit
                words[at // 32] |= (((numbers[place] >> bit) & 1) << (at % 32)).astype(np.uint32)
        assert (_bits(words.view(np.int32), bits, 64) == numbers).all()


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8", "gptq"])
def test_weights_read_from_a_folder_are_the_sources_but_for_rounding(kind):
    """So that a wrong table, scale, nibble or offset would show."""
    ours, source = tensors(demo_folder(kind)), tensors(DEMO)
    places = np.arange(16)
    for name in ("model.layers.3.mlp.down_proj.weight", "model.layers.0.self_attn.q_proj.weight"):
        one, other = ours.rows(name, places, 256), source.rows(name, places, 256)
        apart = np.sqrt(np.mean((one - other) ** 2) / np.mean(other**2))
        assert apart < (0.02 if kind == "int8" else 0.17), name


def test_a_gguf_of_16_bits_has_the_rows_of_its_source():
    """The feed-forward matrices are stored as they are; only attention is permuted."""
    ours, source = tensors(demo_gguf("F16")), tensors(DEMO)
    places = np.array([0, 5, 200])
    one = ours.rows("blk.3.ffn_down.weight", places, 100)
    other = source.rows("model.layers.3.mlp.down_proj.weight", places, 100)
    assert np.allclose(one, other, rtol=1e-3, atol=1e-4)
