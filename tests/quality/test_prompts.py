"""The built-in prompts are whole, files of prompts are read or refused by name, and a model without a template is asked
in plain text."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from lqmf.errors import UsageError
from lqmf.quality.benchmark.prompts import asked, read


def test_the_built_in_prompts_are_of_six_kinds_at_least_five_of_each():
    known = read()
    kinds = Counter(prompt.category for prompt in known.prompts)
    assert set(kinds) == {"facts", "instructions", "reasoning", "code", "chat", "long context"}
    assert min(kinds.values()) >= 5
    assert len({prompt.messages[-1]["content"] for prompt in known.prompts}) == len(known.prompts)


def test_long_prompts_hold_their_passage_and_people_are_shown_the_question():
    long = next(prompt for prompt in read().prompts if prompt.category == "long context")
    assert len(long.messages[-1]["content"].split()) > 400
    assert long.messages[-1]["content"].endswith(long.text)
    assert len(long.text) < 120


def test_the_first_of_each_kind_are_taken_in_their_order():
    known, few = read(), read().first(2)
    assert set(Counter(prompt.category for prompt in few.prompts).values()) == {2}
    assert few.sha256 == known.sha256
    assert known.first(None).prompts == known.prompts
    assert [p for p in known.prompts if p in few.prompts] == list(few.prompts)


def test_a_text_file_has_a_prompt_a_line(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("What is a bee?\n\n  Name a river.  \n")
    found = read(path)
    assert [prompt.text for prompt in found.prompts] == ["What is a bee?", "Name a river."]
    assert {prompt.category for prompt in found.prompts} == {"own"}
    assert found.name == "mine"


def test_a_json_file_may_hold_dialogues_and_passages(tmp_path):
    path = tmp_path / "mine.json"
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "What grows there?"},
    ]
    entry = {"id": "a", "category": "garden", "messages": talk, "passage": "p"}
    path.write_text(json.dumps({"passages": {"p": "Roses grow there."}, "prompts": [entry]}))
    [prompt] = read(path).prompts
    assert prompt.messages[-1]["content"] == "Roses grow there.\n\nWhat grows there?"
    assert [message["role"] for message in prompt.messages] == ["system", "user", "assistant", "user"]


ENTRY = {"id": "a", "category": "c", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"prompts": []},
        {"prompts": [{**ENTRY, "messages": []}]},
        {"prompts": [{**ENTRY, "messages": [{"role": "assistant", "content": "x"}]}]},
        {"prompts": [{**ENTRY, "messages": [{"role": "robot", "content": "x"}, *ENTRY["messages"]]}]},
        {"prompts": [{**ENTRY, "passage": "missing"}]},
        {"prompts": [ENTRY, ENTRY]},
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, document):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"mine\.json"):
        read(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none.txt", tmp_path / "bytes.txt"):
        with pytest.raises(UsageError, match="cannot be read"):
            read(path)


def test_a_model_without_a_template_is_asked_in_plain_text_and_stops_at_the_next_turn():
    class Plain:
        def render(self, messages):
            raise UsageError("no template")

    text, stop = asked(Plain(), [{"role": "user", "content": "Hello"}])
    assert (text, stop) == ("User: Hello\nAssistant:", ("\nUser:",))
