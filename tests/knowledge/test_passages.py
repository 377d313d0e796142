"""What is known is found offline, by the words that people use; every passage names its sources."""

import pytest

from lqmf.fit.quality import WEIGHTS
from lqmf.knowledge import figures
from lqmf.knowledge.passages import find, is_term, passages
from lqmf.model_files.gguf_types import TYPES


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("GPTQ", ["gptq"]),
        ("what is gptq?", ["gptq"]),
        ("difference between Q4_K_M and Q4_0", ["older-types", "k-quants"]),
        ("which should I use?", ["choosing"]),
        ("which type should I use for my laptop", ["choosing"]),
        ("perplexity vs kl", ["perplexity", "kl-divergence"]),
        ("how does the kv cache grow with context", ["kv-cache"]),
        ("is awq better than gptq", ["other-methods", "gptq"]),
        ("gguf or gptq", ["methods"]),
        ("what does the _M suffix mean", ["k-quants"]),
        ("group_size", ["gptq"]),
        ("what do experts do in a mixture of experts", ["moe"]),
        ("type", ["choosing"]),
        ("how do I cook pasta?", []),
        ("the weather", []),
        ("what is it?", []),
    ],
)
def test_a_question_finds_what_it_is_about(question, names):
    assert [one.name for one in find(question)] == names


@pytest.mark.parametrize("passage", passages(), ids=lambda one: one.name)
def test_each_passage_is_found_by_its_names_says_something_and_names_its_sources(passage):
    assert passage in find(passage.words[0])
    assert len(passage.text.split()) > 30
    assert passage.sources
    assert "Words:" not in passage.text


def test_no_name_belongs_to_two_passages():
    names = [name for one in passages() for name in one.words]
    assert len(names) == len(set(names))


def test_every_type_has_a_passage():
    assert [name for name in WEIGHTS if not find(name)] == []


def test_a_term_is_told_from_a_free_question():
    assert is_term("gptq")
    assert is_term("what is GPTQ?")
    assert not is_term("which type should I use?")
    assert not is_term("does gptq need a gpu to run")


def test_figures_of_a_type_are_those_of_the_tables_and_of_this_store():
    receipt = {"kl_divergence": {"mean": 0.002}, "perplexity": 48.0, "tokens_per_second": {"generation": 99.0}}
    about = {"model": "org/m", "method": "gguf", "size_bytes": 5}
    records = [
        {"name": "a", "type": "Q4_K_M", "receipt": receipt, **about},
        {"name": "b", "type": "Q4_0", "receipt": None, **about},
    ]
    assert figures.types_in("is q4_k_m better than Q4_0?") == ["Q4_K_M", "Q4_0"]
    found = figures.of_type("Q4_K_M", records)
    assert (found["expected_kl_nats"], found["bits_per_weight"]) == (WEIGHTS["Q4_K_M"], TYPES["Q4_K_M"].bits_per_weight)
    assert [(one["artifact"], one["kl_nats"]) for one in found["measured_here"]] == [("a", 0.002)]
    assert figures.of_type("Q4_0", records)["measured_here"] == []
