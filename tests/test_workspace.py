"""The workspace is found as the design says, and its folders appear whole or not at all."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from lqmf import workspace
from lqmf.errors import NotFound, UsageError


def test_the_option_beats_the_variable_beats_the_nearest_config(tmp_path):
    ours, inner = tmp_path / "ours", tmp_path / "ours" / "a" / "b"
    inner.mkdir(parents=True)
    (ours / "config.json").write_text("{}")
    (ours / "a" / "config.json").write_text('{"model_type": "llama", "architectures": []}')
    assert workspace.find_root("/x", inner, {"LQMF_HOME": "/y"})[0].as_posix() == "/x"
    assert workspace.find_root(None, inner, {"LQMF_HOME": "/y"})[0].as_posix() == "/y"
    assert workspace.find_root(None, inner, {}) == (ours, "config.json")


def test_without_any_of_them_it_is_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace, "_is_ours", lambda _path: False)
    assert workspace.find_root(None, tmp_path, {})[0].name == ".lqmf"


def test_a_broken_config_is_not_stepped_over_unless_it_is_a_models(tmp_path):
    (tmp_path / "config.json").write_text('{"max_retries": 1')
    assert workspace.find_root(None, tmp_path, {})[1] == "config.json"
    (tmp_path / "config.json").write_text('{"model_type": "llama"')
    assert workspace.find_root(None, tmp_path, {})[0] != tmp_path


@pytest.mark.parametrize(
    "name", ["../../etc", "a/b", "a\x1b[31mb", "", "..", "x y", "--force", "-", "猫" * 300, "\u202e-7B"]
)
def test_a_safe_name_is_one_plain_folder_name(name):
    safe = workspace.safe_name(name)
    assert 0 < len(safe.encode()) <= workspace.LONGEST_NAME
    assert not safe.startswith("-")
    assert not set(safe) & set('/\\\x1b "')
    assert safe not in (".", "..")
    assert not safe.startswith(".")


def test_letters_of_every_script_stay_in_a_name_and_are_the_same_however_they_are_spelled():
    assert workspace.safe_name("日本語-7B") == "日本語-7B"
    assert workspace.safe_name("cafe\u0301") == workspace.safe_name("café") == "café"


def test_two_that_publish_at_once_get_different_versions(tmp_path):
    def make(number: int) -> str:
        place = workspace.building(tmp_path, f"job{number}")
        return workspace.publish(place, "same", lambda name: workspace.write_text(place / "name", name)).name

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(make, range(8)))
    assert sorted(names) == sorted(["same", *(f"same_v{n}" for n in range(2, 9))])
    assert all((tmp_path / name / "name").read_text() == name for name in names)


def test_a_folder_under_construction_is_hidden_and_its_rest_is_removed(tmp_path):
    place = workspace.building(tmp_path, "job1")
    (place / "half").write_text("x")
    assert place.name.startswith(".")
    workspace.remove_leftovers(tmp_path, "job1")
    assert list(tmp_path.iterdir()) == []


def test_what_was_made_on_the_way_is_gone_at_the_end_and_kept_after_an_error_that_may_heal(tmp_path):
    def fail(error: Exception, *, made: bool = True) -> None:
        with workspace.work(tmp_path, "model") as place:
            if made:
                (place / "big").write_text("x")
            raise error

    with pytest.raises(ValueError, match="stop"):
        fail(ValueError("stop"))
    with workspace.work(tmp_path, "model") as place:
        assert (place / "big").exists()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="stop"):
        fail(ValueError("stop"), made=False)
    with pytest.raises(UsageError):
        fail(UsageError("wrong", ""))
    assert list(tmp_path.iterdir()) == []


def test_rewriting_the_receipt_keeps_the_manifest_true(tmp_path):
    (tmp_path / "weights.gguf").write_bytes(b"weights")
    workspace.write_text(tmp_path / workspace.RECEIPT, "{}")
    workspace.write_json(tmp_path / workspace.MANIFEST, {"files": workspace.file_entries(tmp_path)})
    workspace.rewrite_mutable(tmp_path, {workspace.RECEIPT: '{"perplexity": 1}'})
    entries = {e["path"]: e for e in workspace.read_json(tmp_path / workspace.MANIFEST)["files"]}
    assert entries[workspace.RECEIPT]["sha256"] == workspace.sha256(tmp_path / workspace.RECEIPT)
    assert entries["weights.gguf"]["immutable"]
    assert not entries[workspace.RECEIPT]["immutable"]


def test_reading_what_is_missing_or_broken_is_a_clear_error(tmp_path):
    with pytest.raises(NotFound):
        workspace.read_json(tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UsageError):
        workspace.read_json(tmp_path / "manifest.json")


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    workspace.write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        workspace.write_json(path, {"new": object()})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
