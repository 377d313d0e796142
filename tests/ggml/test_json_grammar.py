"""Whatever the model, what it writes under a schema is a document of that schema, and ends in time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

import pytest
from pydantic import BaseModel

from lqmf.advice.answers import NamedModels, Recommendation
from lqmf.advice.reading import Proposal
from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.engines.promise import Sampling
from lqmf.errors import UsageError
from lqmf.ggml.json_grammar import BYTES, bounded, grammar, most_characters
from lqmf.jobs.tasks.complete import fitted, samplings
from tests.fixtures_gguf import demo_gguf


class Nested(BaseModel):
    kind: Literal["a", "b"]
    number: int
    share: float
    flags: list[bool]
    texts: list[str]


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaCppEngine]:
    with LlamaCppEngine(demo_gguf("Q4_K_M")) as opened:
        yield opened


@pytest.mark.parametrize("form", [Recommendation, NamedModels, Proposal, Nested])
@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
def test_a_model_without_sense_still_writes_the_form(engine, form, temperature):
    room = 400
    schema = json.dumps(bounded(form.model_json_schema(), most_characters(form.model_json_schema(), room)))
    for seed in range(3):
        drawn = Sampling(max_tokens=room, temperature=temperature, top_k=0, seed=seed, json_schema=schema)
        text = "".join(piece.text for piece in engine.generate("Which type?", drawn))
        form.model_validate_json(text)
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in text)


def test_strings_are_short_enough_to_end_whatever_they_hold():
    schema = Nested.model_json_schema()
    assert most_characters(schema, 500) >= BYTES * most_characters(schema, 500, tokens_a_character=BYTES) - BYTES
    usual, sure = samplings(schema, 500)
    assert len(grammar(sure.json_schema)) < len(grammar(usual.json_schema))


def test_a_limit_that_the_schema_has_itself_stays():
    limited = bounded({"type": "string", "maxLength": 5}, 100)
    assert limited["maxLength"] == 5
    assert bounded({"enum": ["x" * 200], "type": "string"}, 5) == {"enum": ["x" * 200], "type": "string"}


def test_what_is_no_schema_is_refused():
    with pytest.raises(UsageError, match="schema"):
        grammar('{"type": "nonsense"}')


def test_a_prompt_too_long_for_the_context_loses_the_middle_of_its_longest_message(engine):
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "first " + "word " * 4000 + "last"},
    ]
    prompt, cut = fitted(engine, messages, 600)
    assert len(prompt) <= 600
    assert cut > 3000
    text = engine.detokenize(prompt)
    for part in ("Be short.", "first", "[..]", "last", "assistant"):
        assert part in text
    assert fitted(engine, messages[:1], 600)[1] == 0
