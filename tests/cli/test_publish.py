"""`lqmf publish`: several types in one repository of a Hub, with one card; asked before, through the real client."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lqmf.model_files.gguf_header import read_header
from tests.cli.conftest import Ran
from tests.commands import lqmf
from tests.hub import card_rules
from tests.hub.server import LocalHub

A, B = "demo_gguf_4bit_Q4_K_M", "demo_gguf_8bit_Q8_0"
Run = Callable[..., Ran]


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with LocalHub() as server:
        server.role = "write"
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "hf_validtoken")
        yield server


@pytest.fixture
def two(make_artifact: Callable[..., Path]) -> None:
    for name, type, bits in ((A, "Q4_K_M", 4), (B, "Q8_0", 8)):
        folder = make_artifact(name, type, bits)
        (folder / "m.gguf").rename(folder / f"m-{type}.gguf")
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"m.gguf"', f'"m-{type}.gguf"'))


@pytest.mark.usefixtures("two")
def test_two_types_are_one_repository_with_one_table(run: Run, hub: LocalHub) -> None:
    done = run("publish", A, B, "--force", "--json")
    assert (done.code, done.document["repository"]) == (0, "ada/m-GGUF")
    assert done.document["files"] == ["m-Q4_K_M.gguf", "m-Q8_0.gguf", "README.md"]
    repo = hub.repos["ada/m-GGUF"]["main"]
    assert set(repo.files) == {"m-Q4_K_M.gguf", "m-Q8_0.gguf", "README.md"}
    assert not repo.private
    card = bytes(repo.files["README.md"]).decode()
    rows = [line.split("|") for line in card.splitlines() if line.startswith("| m-")]
    assert [(row[2].strip(), row[5].strip()) for row in rows[:2]] == [("Q4_K_M", "0.00220"), ("Q8_0", "0.00220")]
    assert "llama-cli --hf-repo ada/m-GGUF --hf-file m-Q4_K_M.gguf" in card
    assert "ollama run hf.co/ada/m-GGUF:m-Q4_K_M.gguf" in card
    assert card_rules.problems(card.split("---")[1])[0] == []
    assert str(Path.home()) not in card


@pytest.mark.usefixtures("two")
def test_a_further_type_joins_what_is_there_and_private_is_kept(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    assert run("publish", A, "--to", "mine", "--private", "--force").code == 0
    assert hub.repos["ada/mine"]["main"].private
    assert run("publish", B, "--to", "ada/mine", "--force").code == 0
    repo = hub.repos["ada/mine"]["main"]
    assert repo.private
    assert {"m-Q4_K_M.gguf", "m-Q8_0.gguf"} <= set(repo.files)
    (tmp_path / "back.gguf").write_bytes(bytes(repo.files["m-Q8_0.gguf"]))
    assert read_header(tmp_path / "back.gguf").metadata


@pytest.mark.usefixtures("two")
def test_what_is_public_is_not_taken_for_private(run: Run, hub: LocalHub) -> None:
    hub.add_repo("ada/open", {})
    done = run("publish", A, "--to", "ada/open", "--private", "--force", "--json")
    assert "is public" in done.document["error"]["message"]
    assert not hub.repos["ada/open"]["main"].files


@pytest.mark.usefixtures("two")
def test_it_is_asked_before_and_a_yes_to_plans_is_no_answer(run: Run, hub: LocalHub) -> None:
    done = run("publish", A, "--yes", "--json")
    assert done.code == 2
    assert done.document["questions"][0]["text"].startswith("Publish m-Q4_K_M.gguf (")
    assert f"{hub.url}/ada/m-GGUF" in done.document["questions"][0]["text"]
    assert not hub.repos


@pytest.mark.usefixtures("two", "hub")
@pytest.mark.parametrize(
    ("token", "role", "said"),
    [
        ("", "write", "Publishing needs a Hugging Face token, and there is none."),
        ("hf_expired000", "write", "The Hub does not accept the token in HF_TOKEN"),
        ("hf_validtoken", "read", "The token of ada may only read."),
    ],
)
def test_a_token_that_is_missing_expired_or_cannot_write_is_told_in_words(
    run: Run, hub: LocalHub, monkeypatch: pytest.MonkeyPatch, token: str, role: str, said: str
) -> None:
    hub.role = role
    monkeypatch.setenv("HF_TOKEN", token)
    done = run("publish", A, "--force", "--json")
    assert done.code == 1
    assert said in done.document["error"]["message"]
    assert "huggingface.co/settings/tokens" in done.document["error"]["remedy"]
    assert not hub.repos


@pytest.mark.usefixtures("hub")
def test_what_does_not_belong_together_is_refused(run: Run, make_artifact: Callable[..., Path]) -> None:
    make_artifact(A)
    make_artifact(B)
    done = run("publish", A, B, "--force", "--json")
    assert "Two of them have a file m.gguf." in done.document["error"]["message"]
    bad = run("publish", A, "--to", "ada/a..b", "--force", "--json")
    assert "is no name of a repository" in bad.document["error"]["message"]


@pytest.mark.usefixtures("two")
def test_in_a_chat_it_is_a_sentence_and_a_typed_yes(home: Path, hub: LocalHub) -> None:
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_validtoken", "HF_HOME": os.environ["HF_HOME"]}
    said = f"show {A}\npublish it on hugging face\nyes\nexit\n"
    told = lqmf(home, stdin=said, env={**os.environ, **environment})
    assert f"✓ Published {A}" in told.stdout
    assert list(hub.repos) == ["ada/m-GGUF"]
