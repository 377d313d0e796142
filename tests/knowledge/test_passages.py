"""What is known is found offline, by the words that people use; every passage names its sources."""

import json
import time
from pathlib import Path

import pytest

from lqmf.cli.spoken import of_the_notes
from lqmf.fit.quality import WEIGHTS
from lqmf.knowledge import figures
from lqmf.knowledge.finding import find, is_term
from lqmf.knowledge.passages import passages
from lqmf.model_files.gguf_types import TYPES
from lqmf.understanding.dialogue import Dialogue, step

HERE = Path(__file__).parent
MISSED = {  # the share that may miss
    "asked.jsonl": 0.1,
    "asked-held.jsonl": 0.17,
    "newcomers.jsonl": 0.35,
    "newcomers-held.jsonl": 0.38,
}


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("GPTQ", ["gptq"]),
        ("what is gptq?", ["gptq"]),
        ("difference between Q4_K_M and Q4_0", ["older-types", "k-quants"]),
        ("which should I use?", ["choosing"]),
        ("which type should I use for my laptop", ["choosing", "making"]),
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


@pytest.mark.parametrize("name", MISSED)
def test_questions_as_people_ask_them_get_their_note_first(name):
    """Rules, finder and notes were mended on asked.jsonl and newcomers.jsonl; those held back were written before."""
    asked = [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]
    wrong = [f"{one['say']} -> {got}" for one in asked if not is_right(one["notes"], got := read(one["say"]))]
    assert len(wrong) <= MISSED[name] * len(asked), "\n".join(wrong)


def read(line):
    """Return the names of the notes that a line of the chat gets; the intent where it is no question for the notes."""
    _, decision = step(Dialogue(), line)
    decision = of_the_notes(decision, line) or decision
    return [one.name for one in find(decision.slots["topic"])] if decision.intent == "explain" else decision.intent


def is_right(notes, got):
    return got[0] in notes if notes and isinstance(got, list) and got else not notes and got in ([], "unknown")


def test_a_question_costs_less_than_five_milliseconds_of_the_processor():
    lines = [json.loads(line)["say"] for line in (HERE / "asked.jsonl").read_text(encoding="utf-8").splitlines()]
    find(lines[0])
    begun = time.process_time()
    for line in lines:
        find(line)
    assert (time.process_time() - begun) / len(lines) < 0.005


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
