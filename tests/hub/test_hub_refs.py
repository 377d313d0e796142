"""What the user typed as MODEL becomes a reference, or a clear refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub.utils import HFValidationError, validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from lqmf.errors import LqmfError, ModelNotFound, UsageError
from lqmf.model_files.refs import is_repo_id, parse_ref, printable

ALIASES = {"mistral 7b": "mistralai/Mistral-7B-Instruct-v0.3", "gpt2": "openai-community/gpt2"}


def parse(text: str):
    return parse_ref(text, canonical=ALIASES.get)


def test_the_demo_is_the_bundled_folder() -> None:
    ref = parse("demo")
    assert (ref.kind, ref.id) == ("demo", "demo")
    assert (Path(ref.path or "") / "config.json").is_file()


@pytest.mark.parametrize(
    ("text", "model", "revision"),
    [
        ("org/name", "org/name", None),
        (" org/name@main ", "org/name", "main"),
        ("org/name@refs/pr/3", "org/name", "refs/pr/3"),
        ("org/name@" + "a" * 40, "org/name", "a" * 40),
        ("gpt2", "openai-community/gpt2", None),
        ("mistral 7b", "mistralai/Mistral-7B-Instruct-v0.3", None),
        ("https://huggingface.co/org/name", "org/name", None),
        ("https://huggingface.co/org/name/tree/main", "org/name", "main"),
        ("hf.co/org/name/blob/v1.0/config.json?raw=1", "org/name", "v1.0"),
        ("https://huggingface.co/org/name/tree/refs%2Fpr%2F3#files", "org/name", "refs/pr/3"),
        ("https://huggingface.co/org/name?library=transformers", "org/name", None),
    ],
)
def test_hub_ids_and_familiar_names(text: str, model: str, revision: str | None) -> None:
    ref = parse(text)
    assert (ref.kind, ref.id, ref.revision) == ("hub", model, revision)


@pytest.mark.parametrize(
    "text",
    [
        "", "nobody-knows-this", "org/../x", "a/b/c", "org/name@", "org/name@../../x", "org/name@-x", "org//name",
        "-org/name", "org/na--me", "org/name.git", "org/n ame", "org/" + "x" * 97, "org\\name", "%2e%2e/x", "o;rm/x",
        "https://huggingface.co/org/name/tree/..%2Fx", "https://huggingface.co/org/name/other/main",
        "org/\x1b[31mred", "org/name\x00", "a/b@c\nd",
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused_with_a_remedy_and_no_raw_control_characters(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.remedy
    assert str(caught.value).isprintable()


def test_a_path_is_a_folder_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("./model", "../" + tmp_path.name + "/model", str(tmp_path / "model"), "~/model"):
        ref = parse(text)
        assert (ref.kind, ref.id, ref.path) == ("local", "model", str(tmp_path / "model"))
    assert parse(".").path == str(tmp_path)


@pytest.mark.parametrize("text", ["./nowhere", "../x/y", "/no/such/folder", "~nobodyatall/x", "C:\\models\\x"])
def test_a_path_that_is_no_folder_is_not_found_and_never_asked_of_the_hub(text: str) -> None:
    with pytest.raises(ModelNotFound):
        parse(text)


def test_a_file_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"")
    with pytest.raises(ModelNotFound, match="is a file"):
        parse(str(tmp_path / "x.gguf"))


def test_a_folder_typed_without_its_dot_is_hinted_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        parse("a/b/c")
    assert "./a/b/c" in caught.value.remedy


@given(st.text(alphabet="abcZ09-_./", max_size=12))
def test_an_id_is_allowed_exactly_when_huggingface_hub_allows_it(text: str) -> None:
    """Ours may only be stricter, and only at a part's ends."""
    try:
        validate_repo_id(text)
        theirs = True
    except HFValidationError:
        theirs = False
    assert theirs or not is_repo_id(text)
    if theirs and not is_repo_id(text):
        assert any(part == "" or not (part[0] + part[-1]).replace("_", "a").isalnum() for part in text.split("/"))


@given(st.text(max_size=40))
def test_any_text_gives_a_reference_or_an_error_of_ours(text: str) -> None:
    try:
        ref = parse(text)
    except LqmfError as error:
        shown, remedy = error.message, error.remedy
    else:
        shown, remedy = ref.id, ref.kind
    assert remedy
    assert printable(shown, limit=999) == shown
