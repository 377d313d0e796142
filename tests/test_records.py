"""Records come back from JSON as they went in; a document of another form is told field by field."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from lqmf.records import (
    Base,
    Divergence,
    InvalidRecord,
    ModelRef,
    QuantizationPlan,
    Receipt,
    Run,
    from_json,
    to_json,
)

PLAN = QuantizationPlan("p", ModelRef("demo", "demo"), None, "gguf", 4, "Q4_K_M", "gguf", "cpu", run=Run(8192))
RECEIPT = Receipt(kl_divergence=Divergence(0.1, 0.01, 0.05, 0.2, 0.5, 1.0), peak_memory_bytes={"rss": 5, "gpu": None})


@pytest.mark.parametrize("record", [PLAN, RECEIPT, Base(path=Path("base.gguf"), name="m")])
def test_a_record_comes_back_from_json_as_it_went_in(record: Any) -> None:
    assert from_json(type(record), json.loads(json.dumps(to_json(record)))) == record


def test_what_an_older_version_did_not_write_takes_its_default_and_what_a_newer_one_adds_is_passed_over() -> None:
    assert from_json(Run, {"context": 8192, "of a newer version": {"a": 1}}) == Run(8192)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bits": "4"}, "bits should be a valid integer"),
        ({"bits": True}, "bits should be a valid integer"),
        ({"model": {"kind": "demo"}}, "model.id is missing"),
        ({"model": []}, "model should be an object"),
        ({"device": "tpu"}, "device should be 'cpu' or 'gpu'"),
        ({"run": {"context": {}}}, "run.context should be a valid integer"),
        ({"type": "\ud800"}, "the whole "),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_field(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        from_json(QuantizationPlan, {**to_json(PLAN), **changes})
    assert str(caught.value).startswith(said)
    assert caught.value.problems[0] == str(caught.value)


def test_every_wrong_field_is_told() -> None:
    wrong = {field.name: {"no": "value"} for field in dataclasses.fields(Run)}
    with pytest.raises(InvalidRecord) as caught:
        from_json(Run, wrong)
    assert len(caught.value.problems) == len(wrong)


@pytest.mark.parametrize("document", [None, [], 3, "text"])
def test_what_is_no_object_is_no_record(document: Any) -> None:
    with pytest.raises(InvalidRecord):
        from_json(Run, document)
