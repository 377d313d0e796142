"""`docs`: an artifact's card and Modelfile, from its records; and the reference, which drifts from no code."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from lqmf import settings
from lqmf.app import App
from lqmf.cli import reference, registry
from lqmf.errors import UsageError
from lqmf.operations import docs
from lqmf.quantization.registry import backends
from lqmf.records import Decision
from tests.artifacts.modelfile_parser import parse

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
NAME = "m_gguf_4bit_Q4_K_M"


@pytest.fixture(autouse=True)
def _bare(home, monkeypatch):
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def script(home):
    """`script(answer, ..)`: the scripted provider is in use, with these answers."""

    def use(*answers, **more):
        path = home / "script.json"
        path.write_text(json.dumps([{"answer": answer, **more} for answer in answers]))
        (home / "config.json").write_text(json.dumps({"llm_provider": "scripted", "scripted_file": str(path)}))

    return use


def listed(folder: Path) -> dict[str, dict]:
    return {entry["path"]: entry for entry in json.loads((folder / "manifest.json").read_text())["files"]}


def test_card_and_modelfile_are_written_and_the_manifest_has_their_hashes(run, make_artifact):
    folder = make_artifact(NAME)
    document = run("docs", NAME, "--json").document
    assert document["files"] == [str(folder / "README.md"), str(folder / "Modelfile")]
    assert "# m\\_gguf" not in (folder / "README.md").read_text()
    assert f"# {NAME}" in (folder / "README.md").read_text()
    assert parse((folder / "Modelfile").read_text()) == [("model", "./m.gguf")]
    entries = listed(folder)
    for name in ("README.md", "Modelfile"):
        assert entries[name]["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert entries[name]["immutable"] is False
    assert list(entries) == sorted(entries)
    before = (folder / "manifest.json").read_bytes()
    assert run("docs", NAME).code == 0
    assert (folder / "manifest.json").read_bytes() == before


def test_copies_go_where_they_are_wanted(run, make_artifact, tmp_path):
    folder = make_artifact(NAME)
    files = run("docs", NAME, "--out", str(tmp_path / "to" / "publish"), "--json").document["files"]
    for path in map(Path, files):
        assert path.parent == tmp_path / "to" / "publish"
        own = (folder / path.name).read_text()
        assert path.read_text() == own.replace("FROM ./m.gguf", f"FROM {folder}/m.gguf")  # where the weights are


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", "# Mine\n\nquantized_by: LQMF is what a card says.\n"),
        ("README.md", "---\nlicense: mit\n---\n\nquantized_by: LQMF\n"),
        ("Modelfile", "# TEMPLATE is mine\nFROM ./other.gguf\n"),
    ],
)
def test_a_file_of_somebody_else_is_overwritten_by_force_alone(run, make_artifact, tmp_path, name, text):
    folder = make_artifact(NAME)
    (tmp_path / name).write_text(text)
    ran = run("docs", NAME, "--out", str(tmp_path), "--json")
    assert ran.code == 2
    assert "--force" in ran.document["error"]["remedy"]
    assert (tmp_path / name).read_text() == text
    assert [one for one in ("README.md", "Modelfile") if (tmp_path / one).exists()] == [name]
    assert not (folder / "README.md").exists()
    for arguments in (("--force",), ()):  # what it wrote is its own, the next time
        assert run("docs", NAME, "--out", str(tmp_path), *arguments).code == 0
        assert (tmp_path / name).read_text() == (folder / name).read_text().replace("FROM ./m", f"FROM {folder}/m")


def test_several_artifacts_are_not_written_over_one_another(run, make_artifact, home, tmp_path):
    names = [make_artifact(NAME).name, make_artifact("m_gguf_8bit_Q8_0", "Q8_0", 8).name]
    app = App.create(None, {}, home, os.environ)
    with pytest.raises(UsageError, match="overwrite one another"):
        asyncio.run(docs.run(app, Decision("docs", {"names": names, "out": str(tmp_path / "out")}).request, None))
    app.close()
    assert not (tmp_path / "out").exists()


def test_it_is_done_when_said(run, make_artifact):
    folder = make_artifact(NAME)
    assert run(f"write a model card for {NAME}").code == 0
    assert (folder / "README.md").is_file()


def test_a_file_without_records_is_refused(run, home, make_artifact):
    folder = make_artifact(NAME)
    (home / "quantized-models" / "found").mkdir()
    shutil.copy(folder / "m.gguf", home / "quantized-models" / "found" / "found.gguf")
    error = run("docs", "found", "--json").document["error"]
    assert "was not made by LQMF" in error["message"]


# ---------------------------------------------------------------- in other words

LIMITS = "Expect the source's own mistakes."


def test_a_provider_words_the_sentences_and_the_figures_stay(run, make_artifact, script):
    folder = make_artifact(NAME)
    script({"summary": "Compact, with 0.00220 nats a token lost.", "limits": LIMITS}, expects="KL divergence")
    assert run("docs", NAME, "--prose", "--json").document["prose"] == "provider"
    card = (folder / "README.md").read_text()
    assert "Compact, with 0.00220 nats a token lost." in card
    assert LIMITS in card
    assert "| Perplexity | 47.990 | the source has 47.690 |" in card


def test_wording_with_a_figure_of_its_own_is_left_out_and_that_is_told(run, make_artifact, script):
    folder = make_artifact(NAME)
    script({"summary": "It keeps 99.9% of the quality.", "limits": LIMITS})
    ran = run("docs", NAME, "--prose")
    assert ran.code == 0
    assert "the figure '99.9', which the records do not" in " ".join((ran.out + ran.err).split())
    assert "99.9" not in (folder / "README.md").read_text()
    assert "Against the source it loses 0.00220 nats a token" in (folder / "README.md").read_text()


def test_without_a_provider_there_are_no_other_words(run, make_artifact):
    make_artifact(NAME)
    ran = run("docs", NAME, "--prose", "--json")
    assert ran.code == 2
    assert "llm switch" in ran.document["error"]["remedy"]
    assert run("docs", NAME, "--project").code == 2


# ---------------------------------------------------------------- the reference


def test_the_reference_is_what_the_code_says():
    """Where this fails: `lqmf docs --project` in the project's folder writes it again."""
    ours = {name: backend for name, backend in backends().items() if name in ("gguf", "gptq", "bnb")}
    for name, text in reference.pages(ours).items():
        assert (REFERENCE / name).read_text(encoding="utf-8") == text, name
    assert {path.name for path in REFERENCE.iterdir()} == set(reference.pages(ours))


def test_the_reference_names_every_command_option_setting_and_type():
    commands, told, methods = reference.commands(), reference.settings(), reference.methods(backends())
    for name in registry.builtin_names():
        assert f"## lqmf {name}\n" in commands
    assert "`--memory SIZE`" in commands
    assert "### lqmf config set" in commands
    assert all(f"| `{name}` |" in told for name in settings.keys())  # noqa: SIM118
    assert "| `hf_token` | secret |" in told
    assert all(f"| `{one}` |" in methods for backend in backends().values() for one in backend.types)


def test_the_reference_is_written_where_it_is_wanted(run, tmp_path):
    files = run("docs", "--project", "--out", str(tmp_path / "reference"), "--json").document["files"]
    assert [Path(path).name for path in files] == [
        "commands.md",
        "settings.md",
        "methods.md",
        "measures.md",
        "manifest.schema.json",
    ]
    assert Path(files[0]).read_text() == reference.commands()
