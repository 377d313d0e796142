"""What two models' files say is compared in the right terms: differences of spelling are none, others are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lqmf.model_files.template_check import Rendered
from lqmf.quality.checks import structure
from lqmf.quality.checks.traits import Traits, rope_of_config

WORDS = ["<s>", "</s>", "<end>", "\u0120the", "cat", "sat", "on", "mat"]


def read(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.split() if word in WORDS]


SOURCE = Traits(
    kind="folder",
    writes=True,
    vocabulary=len(WORDS),
    known=len(WORDS),
    piece=lambda token: WORDS[token],
    specials={"bos": 0, "eos": 1},
    frame=(0,),
    ends=frozenset({1, 2}),
    stops=lambda token: token in (1, 2),
    read=read,
    context_length=2048,
    rope={"freq_base": 10000.0, "scaling.type": "none", "dimension_count": 64},
    templates={"default": "template"},
    render=lambda dialogues: [Rendered("the cat")] * len(dialogues),
)
YARN = {"factor": 4.0, "original_max_position_embeddings": 512}
GGUF = replace(SOURCE, kind="gguf", ends=frozenset({1}))


def checked(artifact: Traits, source: Traits = SOURCE, **more: Any) -> tuple[dict[str, str | None], Mapping[str, str]]:
    """Each check by name: None where it passed, else what it says; and why others are missing."""
    found, reasons = structure.compare(artifact, source, **more)
    return {one.name: None if one.passed else one.detail for one in found}, reasons


def test_a_file_that_says_what_its_source_says_passes_all():
    assert checked(GGUF) == (dict.fromkeys(structure.NAMES), {})


@pytest.mark.parametrize(
    ("change", "name", "told"),
    [
        ({"vocabulary": 9}, "vocabulary", "9 tokens; the source has 8"),
        ({"piece": lambda token: WORDS[token - 1]}, "vocabulary", "sampled tokens differ"),
        ({"read": lambda text: [*read(text), *[4] * ("fox" in text)]}, "vocabulary", "read as other tokens"),
        ({"specials": {"bos": 4, "eos": 1}}, "special_tokens", "bos is token 4, the source's 0"),
        ({"frame": ()}, "special_tokens", "puts nothing around a text, the source <s>"),
        ({"specials": {"bos": 0, "eos": 5}}, "end_of_text", "its end token is 'sat' (5)"),
        ({"specials": {"bos": 0}}, "end_of_text", "names no token"),
        ({"stops": lambda token: token == 1}, "end_of_text", "does not stop at '<end>' (2)"),
        ({"render": lambda each: [Rendered("the  cat")] * len(each)}, "template", "it writes 'the  cat'"),
        ({"render": lambda each: [Rendered(None, "no")] * len(each)}, "template", "only the artifact's template"),
        ({"templates": {}}, "template", "the source has a chat template, the artifact has none"),
        ({"context_length": 4096}, "context_length", "4,096 tokens; the source has 2,048"),
        ({"rope": {**SOURCE.rope, "freq_base": 5e5}}, "rope", "base 500000, the source has 10000"),
        ({"rope": {**SOURCE.rope, "scaling.type": "yarn"}}, "rope", "scaling yarn, the source has none"),
        ({"rope": {**SOURCE.rope, "dimension_count": 32}}, "rope", "dimensions 32, the source has 64"),
    ],
)
def test_each_difference_is_one_failed_check_that_says_what_was_seen(change, name, told):
    found, _ = checked(replace(GGUF, **change))
    assert told in str(found.pop(name))
    assert set(found.values()) == {None}


def test_the_texts_of_tokens_may_spell_a_space_differently():
    spelled = replace(GGUF, piece=lambda token: WORDS[token].replace("\u0120", "\u2581"))
    assert set(checked(spelled)[0].values()) == {None}


def test_what_both_refuse_is_no_difference():
    def refuse(dialogues: Any) -> list[Rendered]:
        return [Rendered(None, "users alternate")] * len(dialogues)

    assert checked(replace(GGUF, render=refuse), replace(SOURCE, render=refuse))[0]["template"] is None


def test_what_the_source_does_not_say_is_no_check_and_has_a_reason():
    source = replace(SOURCE, templates={}, context_length=None, ends=frozenset(), rope={})
    found, reasons = checked(replace(GGUF, templates={}), source)
    assert set(reasons) == {"checks.template", "checks.context_length", "checks.end_of_text", "checks.rope"}
    assert found == {"special_tokens": None, "vocabulary": None}


def test_what_only_transformers_tells_of_scaling_is_compared_between_folders_alone():
    source = replace(SOURCE, rope={**SOURCE.rope, "scaling.type": "llama3", "scaling.factor": 8})
    assert checked(GGUF, source)[0]["rope"] is None
    assert checked(SOURCE, source)[0]["rope"] is not None


def test_a_conversion_of_the_source_is_believed_before_its_configuration():
    converted = {"freq_base": 20000.0, "scaling.type": "none", "dimension_count": 64}
    assert checked(GGUF, rope=converted)[0]["rope"] is not None
    assert checked(replace(GGUF, rope=converted), rope=converted)[0]["rope"] is None


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"rope_theta": 5e5}, {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}),
        (
            {"rope_theta": 1e4, "rope_scaling": {"type": "yarn", **YARN}},
            {"rope_parameters": {"rope_theta": 1e4, "rope_type": "yarn", **YARN}},
        ),
        (
            {"rope_theta": 1e6, "rope_local_base_freq": 1e4},
            {"rope_parameters": {"full_attention": {"rope_theta": 1e6, "rope_type": "default"}}},
        ),
    ],
)
def test_both_spellings_of_rotary_positions_say_the_same(older, newer):
    assert rope_of_config(older) == rope_of_config(newer)


@pytest.mark.parametrize(
    ("config", "dimensions"),
    [
        ({"hidden_size": 256, "num_attention_heads": 4}, 64),
        ({"head_dim": 128, "partial_rotary_factor": 0.5}, 64),
        ({"head_dim": 192, "qk_rope_head_dim": 64}, 64),
        ({"head_dim": 80, "rotary_pct": 0.25}, 20),
    ],
)
def test_the_dimensions_that_turn_are_those_of_a_head_or_a_part_of_it_where_any_do(config, dimensions):
    assert rope_of_config({"rope_theta": 1e4, **config})["dimension_count"] == dimensions
    assert rope_of_config(config) == {}


def test_an_encoder_is_not_asked_how_it_ends() -> None:
    found, reasons = structure.compare(replace(GGUF, writes=False), replace(SOURCE, writes=False))
    assert "end_of_text" not in {check.name for check in found}
    assert reasons["checks.end_of_text"] == "an encoder writes no text"


def test_tokens_that_only_the_tokenizer_has_are_not_compared_with_a_file_that_has_none_of_them() -> None:
    """A tokenizer may know more words than its model has rows; a GGUF has the model's."""

    def piece(token: int) -> str:
        return WORDS[:6][token]

    source, artifact = replace(SOURCE, vocabulary=6), replace(GGUF, vocabulary=6, known=6, piece=piece)
    assert structure.sample(source) == [0, 3, 4, 5][1:]
    assert checked(artifact, source)[0]["vocabulary"] is None


def test_a_folder_may_name_its_end_in_its_configuration_alone() -> None:
    """So that every folder passes against itself."""
    folder = replace(SOURCE, specials={"bos": 0})
    assert checked(folder, folder)[0]["end_of_text"] is None
    assert "its end token is 'sat' (5)" in str(
        checked(replace(folder, ends=frozenset({1, 5})), folder)[0]["end_of_text"]
    )
    assert "names no token" in str(checked(replace(folder, ends=frozenset()), folder)[0]["end_of_text"])


def test_a_folder_may_end_at_more_than_a_gguf_can_name() -> None:
    assert checked(SOURCE, GGUF)[0]["end_of_text"] is None
    assert "its end token" in str(checked(replace(SOURCE, ends=frozenset({5})), GGUF)[0]["end_of_text"])


def test_rotary_positions_that_the_source_does_not_speak_of_are_no_difference() -> None:
    """gptqmodel writes transformers' defaults into the configuration of a GPT-2, which has none."""
    found, reasons = checked(SOURCE, replace(SOURCE, rope={}))
    assert "rope" not in found
    assert "says nothing of rotary positions" in reasons["checks.rope"]
