"""The shelf finds what is whole, tells what is broken, and never guesses between two names."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf import workspace
from lqmf.artifacts import shelf as artifacts
from lqmf.errors import AmbiguousName, NotFound, UsageError
from lqmf.records import Artifact
from tests.model_files.gguf_writer import SMALL


def make(shelf: Path, name: str, created_at: str = "2026-01-01T00:00:00+00:00", **changes) -> Path:
    folder = shelf / name
    folder.mkdir(parents=True)
    (folder / "m-Q4_K_M.gguf").write_bytes(SMALL)
    manifest = {
        "format_version": 1,
        "name": "the name that it was made under",
        "model": {"kind": "hub", "id": "org/m"},
        "commit": None,
        "source_sha256": {},
        "plan": {"method": "gguf", "bits": 4, "type": "Q4_K_M"},
        "files": [{"path": "m-Q4_K_M.gguf", "size_bytes": 250, "sha256": "", "immutable": True}],
        "versions": {},
        "created_at": created_at,
        "source_size_bytes": 1000,
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "receipt.json").write_text('{"perplexity": 9.5}')
    return folder


def named(*names: str) -> list[Artifact]:
    return [Artifact(name, f"/nowhere/{name}", "gguf", 4, "Q4_K_M", 1, 1, 1.0) for name in names]


# ---------------------------------------------------------------- discover


def test_an_artifact_is_read_from_its_manifest_and_receipt(tmp_path):
    make(tmp_path, "org_m_gguf_4bit_Q4_K_M")
    (found,) = artifacts.discover(tmp_path)
    assert found.name == "org_m_gguf_4bit_Q4_K_M"
    assert (found.method, found.bits, found.type, found.model) == ("gguf", 4, "Q4_K_M", "org/m")
    assert (found.size_bytes, found.source_size_bytes, found.compression_ratio) == (250, 1000, 4.0)
    assert found.receipt == {"perplexity": 9.5}
    assert not found.foreign


def test_the_newest_comes_first_and_what_is_hidden_does_not_come(tmp_path):
    make(tmp_path, "old", "2026-01-01T00:00:00+00:00")
    make(tmp_path, "new", "2026-03-01T00:00:00+00:00")
    make(tmp_path, ".building-xyz", "2026-04-01T00:00:00+00:00")
    assert [artifact.name for artifact in artifacts.discover(tmp_path)] == ["new", "old"]


def test_a_gguf_file_that_was_dropped_there_is_foreign(tmp_path):
    (tmp_path / "theirs.gguf").write_bytes(SMALL)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.gguf").write_bytes(SMALL)
    (tmp_path / "notes.txt").write_text("x")
    found = {artifact.name: artifact for artifact in artifacts.discover(tmp_path)}
    assert found.keys() == {"theirs", "folder"}
    assert all(a.foreign and a.type == "Q4_K_M" and a.bits == 4 for a in found.values())
    assert found["theirs"].size_bytes == len(SMALL)


def test_a_folder_of_several_foreign_files_is_several_artifacts(tmp_path):
    (tmp_path / "pair").mkdir()
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / "pair" / name).write_bytes(SMALL)
    assert {artifact.name for artifact in artifacts.discover(tmp_path)} == {"a", "b"}


@pytest.mark.parametrize(
    "manifest", ["", "{", "[]", "null", '{"name": 1}', '{"plan": {}}', '{"files": 7, "plan": null}', "\x00\xff"]
)
def test_a_broken_manifest_is_told_and_its_folder_is_listed_last_as_damaged(tmp_path, manifest):
    make(tmp_path, "whole")
    broken = make(tmp_path, "broken")
    (broken / "manifest.json").write_text(manifest, encoding="latin-1")
    told: list[str] = []
    whole, damaged = artifacts.discover(tmp_path, told.append)
    assert (whole.name, damaged.name, damaged.type, damaged.method) == ("whole", "broken", "damaged", "unknown")
    assert damaged.foreign
    assert damaged.size_bytes == sum(file.stat().st_size for file in broken.iterdir())
    assert len(told) == 1
    assert told[0].startswith("broken is damaged:")
    with pytest.raises(UsageError):
        artifacts.made(broken)


def test_a_damaged_artifact_is_found_by_name_part_and_path_and_can_be_deleted(tmp_path):
    broken = make(tmp_path, "org_broken")
    (broken / "manifest.json").write_text("{")
    shelf = artifacts.discover(tmp_path)
    assert {artifacts.find(name, shelf).path for name in ("org_broken", "brok", str(broken))} == {str(broken)}
    assert artifacts.paths(shelf[0]) == [broken]


def test_a_foreign_model_one_folder_deeper_is_found(tmp_path):
    """As LM Studio keeps them: organisation/model/file."""
    for name in ("org/one/x.gguf", "org/two/a.gguf", "org/two/b.gguf", "org/.hidden/h.gguf", "org/one/deeper/d.gguf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(SMALL)
    (tmp_path / "org" / "cut.gguf").write_bytes(SMALL[:90])
    told: list[str] = []
    shelf = artifacts.discover(tmp_path, told.append)
    assert {artifact.name for artifact in shelf} == {"one", "a", "b"}
    assert [sentence.split()[0] for sentence in told] == ["cut.gguf"]
    assert artifacts.find("x.gguf", shelf).path == str(tmp_path / "org" / "one")


def test_a_folder_with_more_models_below_it_is_not_one_artifact(tmp_path):
    """So that deleting the file in it does not delete the others."""
    for name in ("org/x.gguf", "org/model/y.gguf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(SMALL)
    shelf = artifacts.discover(tmp_path)
    assert {artifact.name for artifact in shelf} == {"x", "model"}
    assert artifacts.paths(artifacts.find("x", shelf)) == [tmp_path / "org" / "x.gguf"]


def test_a_foreign_file_goes_together_with_its_receipt(tmp_path):
    for name in ("theirs.gguf", "theirs.receipt.json", "other.gguf", "other.receipt.json"):
        (tmp_path / name).write_bytes(SMALL if name.endswith(".gguf") else b"{}")
    for path in artifacts.paths(artifacts.find("theirs.gguf", artifacts.discover(tmp_path))):
        workspace.remove(path)
    assert {path.name for path in tmp_path.iterdir()} == {"other.gguf", "other.receipt.json"}


def test_a_broken_foreign_file_is_told(tmp_path):
    (tmp_path / "cut.gguf").write_bytes(SMALL[:90])
    told: list[str] = []
    assert artifacts.discover(tmp_path, told.append) == []
    assert "cut.gguf" in told[0]


def test_a_receipt_that_cannot_be_read_holds_only_the_reason_why(tmp_path):
    for text in ("{", "[]"):
        shutil.rmtree(tmp_path / "a", ignore_errors=True)
        (make(tmp_path, "a") / "receipt.json").write_text(text)
        receipt = artifacts.discover(tmp_path)[0].receipt
        assert receipt["reasons"]["*"].startswith("its receipt cannot be read: ")
        assert receipt["perplexity"] is None


def test_a_foreign_file_keeps_its_receipt_beside_it_until_it_is_another_file(tmp_path):
    file = tmp_path / "theirs.gguf"
    file.write_bytes(SMALL)
    artifacts.receipt_path(file).write_text(json.dumps({"size_bytes": len(SMALL), "perplexity": 9.5}))
    (found,) = artifacts.discover(tmp_path)
    assert found.receipt == {"size_bytes": len(SMALL), "perplexity": 9.5}
    file.write_bytes(SMALL + b"\0" * 32)
    assert artifacts.discover(tmp_path)[0].receipt is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is closed to this user")
def test_a_folder_that_may_not_be_looked_into_hides_no_other(tmp_path):
    make(tmp_path, "whole")
    make(tmp_path, "closed").chmod(0)
    assert [artifact.name for artifact in artifacts.discover(tmp_path)] == ["whole"]
    (tmp_path / "closed").chmod(0o700)


def test_no_folder_is_an_empty_shelf(tmp_path):
    assert artifacts.discover(tmp_path / "none") == []


# ---------------------------------------------------------------- find


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("demo_gguf_4bit_Q4_K_M", "demo_gguf_4bit_Q4_K_M"),
        ("DEMO_gguf_4bit_q4_k_m", "demo_gguf_4bit_Q4_K_M"),
        ("_v2", "demo_gguf_4bit_Q4_K_M_v2"),
        ("Mistral", "org_mistral_gguf_8bit_Q8_0"),
        ("Q8", "org_mistral_gguf_8bit_Q8_0"),
    ],
)
def test_an_exact_name_beats_a_part_and_a_part_is_enough_when_it_is_unique(typed, found):
    shelf = named("demo_gguf_4bit_Q4_K_M", "demo_gguf_4bit_Q4_K_M_v2", "org_mistral_gguf_8bit_Q8_0")
    assert artifacts.find(typed, shelf).name == found


def test_a_type_that_is_in_no_name_is_one_all_the_same():
    shelf = [dataclasses.replace(each, type="nf4") for each in named("demo_bnb_4bit")] + named("demo_gguf_4bit_Q4_K_M")
    assert artifacts.find("NF4", shelf).name == "demo_bnb_4bit"


def test_several_matches_are_listed_not_chosen_from():
    with pytest.raises(AmbiguousName) as caught:
        artifacts.find("demo", named("demo_a", "demo_b", "other"))
    assert caught.value.details["matches"] == ["demo_a", "demo_b"]


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(NotFound) as caught:
        artifacts.find("mistrall_4bit", named("mistral_4bit", "unrelated"))
    assert caught.value.details["nearest"][0] == "mistral_4bit"
    for shelf in (named("x"), []):
        with pytest.raises(NotFound) as caught:
            artifacts.find("zzzzzz", shelf)
        assert caught.value.remedy


def test_a_path_means_what_lies_there(tmp_path, monkeypatch):
    folder = make(tmp_path, "mine")
    (tmp_path / "theirs.gguf").write_bytes(SMALL)
    monkeypatch.chdir(tmp_path)
    shelf = artifacts.discover(tmp_path)
    assert artifacts.find("./mine", shelf).name == "mine"
    assert artifacts.find(str(folder), []).model == "org/m"
    assert artifacts.find("theirs.gguf", []).foreign
    assert artifacts.find(f"..{os.sep}{tmp_path.name}{os.sep}theirs.gguf", shelf).name == "theirs"


def test_a_folder_without_a_model_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        artifacts.find(str(tmp_path), [])
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(SMALL)
    with pytest.raises(UsageError, match="several"):
        artifacts.find(str(tmp_path), [])


@given(name=st.text(max_size=30), names=st.lists(st.text(min_size=1, max_size=20), max_size=5, unique=True))
def test_whatever_is_typed_an_artifact_of_the_shelf_or_an_error_comes_back(name, names):
    shelf = named(*names)
    try:
        assert artifacts.find(name, shelf) in shelf
    except (NotFound, AmbiguousName, UsageError):
        assert name not in names
