"""One table says what each slot is called, how it is read and what it means; every other way in follows it."""

from __future__ import annotations

import dataclasses

import pytest

from lqmf.cli import tree
from lqmf.records import Request
from lqmf.understanding import slot_table
from lqmf.understanding.lexicon import INTENT_SLOTS

SAID = {
    "method": "gguf", "type": "Q4_K_M,Q8_0", "bits": 4, "device": "gpu", "memory_gb": 8,
    "ram_gb": 15.5, "context": 4096,
    "kv_type": "q8_0/q4_0", "parallel": 2, "target_size_gb": 4.2, "priority": "size", "imatrix": False,
    "calibration": "text.txt", "keep": ("output=Q8_0", "a=F16"), "discard_source": True, "adapter": "lora",
    "parameters": {"group_size": "64"}, "purpose": "finetune", "cpu_fallback": True, "keep_16bit": True, "test": "none",
}  # fmt: skip


def test_every_slot_is_a_field_of_a_request_with_the_same_name():
    fields = {field.name for field in dataclasses.fields(Request)}
    assert set(slot_table.BY_NAME) <= fields
    assert len(slot_table.BY_NAME) == len(slot_table.SLOTS)


def test_what_the_rules_listen_for_in_a_plan_has_its_row():
    assert INTENT_SLOTS["quantize"] <= set(slot_table.BY_NAME)


@pytest.mark.parametrize("name", list(SAID))
def test_a_request_spelled_as_a_command_line_is_read_back_as_the_same_request(name):
    said = {name: SAID[name]}
    words = slot_table.words(Request.of(said))
    read = tree.read(["quantize", "demo", *words]).decision
    assert read.request == Request.of({"model": "demo", **said}, "quantize", exact=True)


def test_the_schema_of_a_request_names_every_slot_with_its_type_and_choices():
    schema = slot_table.schema("quantize")
    assert set(schema["properties"]) == {slot.name for slot in slot_table.of_intent("quantize")}
    assert schema["properties"]["device"] == {
        "type": "string",
        "enum": ["cpu", "gpu"],
        "description": "Where it will run.",
    }
    assert schema["properties"]["keep"]["items"] == {"type": "string"}
    assert schema["properties"]["context"]["type"] == "integer"


@pytest.mark.parametrize(("name", "text"), [("bits", "999"), ("kv_type", "q9"), ("parallel", "0"), ("memory_gb", "x")])
def test_a_value_that_is_none_is_refused_in_words(name, text):
    from lqmf.errors import UsageError

    with pytest.raises(UsageError):
        slot_table.BY_NAME[name].read(text)
