"""A manifest keeps to its schema, older ones too, and what does not is named in words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lqmf.artifacts import manifest_schema
from lqmf.records import FileEntry, InvalidRecord, Manifest, ModelRef, QuantizationPlan, to_json

PLAN = QuantizationPlan("p", ModelRef("demo", "demo"), None, "gguf", 4, "Q4_K_M", "gguf", "cpu")
SOUND: dict[str, Any] = to_json(
    Manifest(
        1, "m", ModelRef("demo", "demo"), None, {"config.json": "a" * 64}, to_json(PLAN),
        (FileEntry("m.gguf", 1, "b" * 64),), {"lqmf": "0"}, "2026-01-01T00:00:00+00:00", 2,
    )
)  # fmt: skip
LATER = ("license", "run", "imatrix", "calibration", "tensors", "adapter", "hardware")  # fields of later versions


def changed(path: str, value: Any) -> dict[str, Any]:
    """The sound manifest with what lies at `path` changed; ... takes it out."""
    document = copy.deepcopy(SOUND)
    *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = document
    for part in above:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def problems(document: Any) -> list[str]:
    """What is wrong with a document, place by place."""
    try:
        manifest_schema.read(document)
    except InvalidRecord as error:
        return list(error.problems)
    return []


def test_what_the_records_write_is_sound() -> None:
    assert problems(SOUND) == []


@pytest.mark.parametrize("field", LATER)
def test_a_manifest_from_before_a_field_came_is_sound(field: str) -> None:
    assert problems(changed(field, ...)) == []


def test_what_a_later_version_adds_is_no_fault() -> None:
    assert problems(changed("something", {"new": 1})) == []


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("plan.method", ..., "plan.method is missing"),
        ("plan.bits", "four", "plan.bits should be a valid integer"),
        ("plan.device", "tpu", "plan.device should be 'cpu' or 'gpu'"),
        ("plan", [], "plan should be an object"),
        ("name", 7, "name should be a valid string"),
        ("commit", ..., "commit is missing"),
        ("files.0.sha256", ..., "files.0.sha256 is missing"),
        ("files.0.sha256", "B" * 64, "files.0.sha256 is no SHA-256"),
        ("source_sha256.config.json", None, "source_sha256"),
        ("files", {}, "files should be a valid"),
        ("model.kind", "ftp", "model.kind should be 'hub', 'local' or 'demo'"),
        ("format_version", 2, "a newer LQMF wrote it"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(path: str, value: Any, told: str) -> None:
    document = changed(path, value) if path != "source_sha256.config.json" else {**SOUND, "source_sha256": {"a": value}}
    assert any(told in problem for problem in problems(document)), path


@pytest.mark.parametrize("document", [None, [], "manifest", 3])
def test_what_is_no_object_is_no_manifest(document: Any) -> None:
    assert problems(document)


def test_the_schema_names_every_field_of_manifest_and_plan() -> None:
    schema = manifest_schema.schema()
    assert set(schema["properties"]) == set(SOUND)
    assert set(schema["$defs"]["QuantizationPlan"]["properties"]) == set(SOUND["plan"])
