"""What was made can be proven, damage is found and named, and the same comes out again. Through the shell, offline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lqmf import workspace
from lqmf.artifacts import manifest_schema
from lqmf.model_files.gguf_header import read_header
from lqmf.quantization.registry import backend
from tests.commands import here
from tests.fixtures_gguf import small_folder

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}


class Shelf:
    """A workspace with one artifact, made from a folder of the user's own."""

    def __init__(self, root: Path, source: Path, *options: str) -> None:
        self.root, self.source = root, source
        said = ("quantize", str(source), "--device", "cpu", "--yes", *options)
        made = self.run(*said)
        self.name, self.folder = made["artifact"]["name"], Path(made["artifact"]["path"])

    def run(self, *words: str, code: int = 0) -> Any:
        done = here(self.root, *words, "--json", env=OFFLINE)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    @property
    def manifest(self) -> dict[str, Any]:
        return dict(workspace.read_json(self.folder / "manifest.json"))

    @property
    def weights(self) -> Path:
        return next(self.folder.glob("*.gguf"))

    def visible(self) -> list[str]:
        return sorted(path.name for path in (self.root / "quantized-models").iterdir())

    def verify(self, *options: str, code: int = 0) -> dict[str, Any]:
        """The findings by name, `passed` of each."""
        told = self.run("verify", self.name, *options, code=code)
        assert told["status"] == ("ok" if code == 0 else "failed")
        return {one["name"]: one["passed"] for one in told["checks"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    place = tmp_path_factory.mktemp("verify")
    shutil.copytree(small_folder(), place / "small-model")
    return Shelf(place / "home", place / "small-model", "--type", "Q4_K_M", "--test", "quick")


@pytest.fixture
def shelf(made: Shelf, tmp_path: Path) -> Shelf:
    """The same artifact again, to be damaged."""
    mine = Shelf.__new__(Shelf)
    shutil.copytree(made.root, tmp_path / "home")
    mine.root, mine.source, mine.name = tmp_path / "home", made.source, made.name
    mine.folder = mine.root / "quantized-models" / made.name
    return mine


def rehash(shelf: Shelf) -> None:
    """Make the manifest say what the files are now, as one who hides a change would."""
    manifest = shelf.manifest
    for entry in manifest["files"]:
        file = shelf.folder / entry["path"]
        entry["sha256"], entry["size_bytes"] = workspace.sha256(file), file.stat().st_size
    workspace.write_json(shelf.folder / "manifest.json", manifest)


def spoil(file: Path, tensor: str, data: Callable[[int], bytes]) -> None:
    """Put other bytes in the place of a tensor's."""
    header = read_header(file)
    found = next(one for one in header.tensors if one.name == tensor)
    with file.open("r+b") as out:
        out.seek(header.data_offset + found.offset)
        out.write(data(found.size_bytes))


# ---------------------------------------------------------------- the manifest


@pytest.mark.slow
def test_the_manifest_tells_all_that_made_the_artifact(made: Shelf) -> None:
    told = made.manifest
    assert manifest_schema.read(told).name
    assert set(told["source_sha256"]) >= {"model.safetensors", "config.json", "tokenizer.json"}
    assert {"lqmf", "python", "llama-cpp-python", "llama.cpp converter", "torch", "transformers"} <= set(
        told["versions"]
    )
    assert told["hardware"].keys() == {"cpu", "cores", "ram_bytes", "gpus", "platform"}
    assert told["adapter"] is None
    assert told["imatrix"]["settings"]["tokens"] == 512
    assert len(told["imatrix"]["imatrix_sha256"]) == len(told["imatrix"]["text_sha256"]) == 64
    assert {entry["path"]: entry["immutable"] for entry in told["files"]}["receipt.json"] is False
    assert told["tensors"] == {tensor.name: tensor.type for tensor in read_header(made.weights).tensors}
    receipt = workspace.read_json(made.folder / "receipt.json")
    assert len(receipt["first_logits"]["top"]) == 8


@pytest.mark.slow
def test_the_file_alone_tells_what_it_is_and_names_no_place_or_time(made: Shelf) -> None:
    told = {key: value for key, value in read_header(made.weights).metadata.items() if key.startswith("lqmf.")}
    manifest = made.manifest
    assert told.pop("lqmf.version") == manifest["versions"]["lqmf"]
    assert told.pop("lqmf.source.id") == "small-model"
    assert told.pop("lqmf.type") == "Q4_K_M"
    assert told.pop("lqmf.imatrix.sha256") == manifest["imatrix"]["imatrix_sha256"]
    assert told.pop("lqmf.imatrix.text_sha256") == manifest["imatrix"]["text_sha256"]
    assert told.pop("lqmf.imatrix.text") == manifest["imatrix"]["text"]
    assert len(told.pop("lqmf.plan.sha256")) == 64
    assert told == {}
    with made.weights.open("rb") as file:
        assert str(made.source.parent).encode() not in file.read(read_header(made.weights).data_offset)


# ---------------------------------------------------------------- measured anew, verified


@pytest.mark.slow
def test_measured_again_it_has_the_same_figures_though_its_base_is_gone(shelf: Shelf) -> None:
    before = workspace.read_json(shelf.folder / "receipt.json")
    again = shelf.run("test", shelf.name)["receipt"]
    assert again["kl_divergence"] == before["kl_divergence"]
    assert again["tokens_evaluated"] == before["tokens_evaluated"]
    assert workspace.read_json(shelf.folder / "receipt.json") == again


@pytest.mark.slow
def test_a_sound_artifact_passes_every_check_and_is_left_as_it_was(made: Shelf) -> None:
    before = {path: path.read_bytes() for path in made.folder.iterdir()}
    found = made.verify()
    assert set(found) == {"manifest", "files", "loads", "finite_predictions", "first_logits"}
    assert set(found.values()) == {True}
    assert made.verify("--quick") == {"manifest": True, "files": True}
    assert {path: path.read_bytes() for path in made.folder.iterdir()} == before


@pytest.mark.slow
def test_one_flipped_bit_anywhere_is_found_and_its_file_is_named(shelf: Shelf) -> None:
    for file in [path for path in shelf.folder.iterdir() if path.name != "manifest.json"]:
        whole = file.read_bytes()
        middle = len(whole) // 2
        file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        told = shelf.run("verify", shelf.name, "--quick", code=1)
        assert [one["path"] for one in told["files"] if one["problem"]] == [file.name]
        file.write_bytes(whole)


@pytest.mark.slow
def test_damage_that_the_hashes_do_not_tell_is_found_by_running_it(shelf: Shelf) -> None:
    """The manifest was made to agree with the damaged file: a tensor of zeros, of NaN, and a file cut short."""
    spoil(shelf.weights, "blk.0.attn_output.weight", bytes)
    rehash(shelf)
    assert shelf.verify(code=1)["first_logits"] is False
    spoil(shelf.weights, "output_norm.weight", lambda size: b"\xff" * size)
    rehash(shelf)
    found = shelf.verify(code=1)
    assert (found["files"], found["finite_predictions"]) == (True, False)
    data = shelf.weights.read_bytes()
    shelf.weights.write_bytes(data[: len(data) * 2 // 3])
    rehash(shelf)
    found = shelf.verify(code=1)
    assert (found["files"], found["loads"]) == (True, False)


@pytest.mark.slow
def test_a_manifest_that_is_none_is_told_before_anything_is_read(shelf: Shelf) -> None:
    manifest = shelf.manifest
    del manifest["plan"]["method"], manifest["files"][0]["sha256"]
    workspace.write_json(shelf.folder / "manifest.json", manifest)
    told = shelf.run("verify", shelf.name, code=1)
    assert [one["name"] for one in told["checks"]] == ["manifest"]
    assert "plan.method is missing" in told["checks"][0]["detail"]
    assert "files.0.sha256 is missing" in told["checks"][0]["detail"]


@pytest.mark.slow
def test_signed_it_verifies_with_the_public_key_until_something_changes(shelf: Shelf, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    private, public = tmp_path / "mine.pem", tmp_path / "mine.public.pem"
    told = shelf.run("verify", shelf.name, "--quick", "--sign", str(private), "--new-key")
    assert told["signed_with"].startswith("SHA256:")
    assert told["unlisted"] == []
    assert shelf.verify("--quick", "--key", str(public))["signature"] is True
    assert shelf.verify("--quick")["signature"] is None
    secret = private.read_bytes().splitlines()[1]
    assert not any(secret in path.read_bytes() for path in shelf.root.rglob("*") if path.is_file())
    receipt = workspace.read_json(shelf.folder / "receipt.json")
    workspace.rewrite_mutable(shelf.folder, {"receipt.json": workspace.json_text({**receipt, "perplexity": 1.0})})
    assert shelf.verify("--quick", "--key", str(public))["signature"] is True
    planted = shelf.folder / "chat_template.jinja"
    planted.write_text("{{ messages }}")
    assert shelf.verify("--quick", "--key", str(public), code=1)["unlisted"] is False, "nobody signed that"
    assert "unlisted" not in shelf.verify("--quick")
    planted.unlink()
    spoil(shelf.weights, "output_norm.weight", bytes)
    rehash(shelf)
    found = shelf.verify("--quick", "--key", str(public), code=1)
    assert (found["files"], found["signature"]) == (True, False)
    spoil(shelf.weights, "output_norm.weight", lambda size: b"\1" * size)
    told = shelf.run("verify", shelf.name, "--quick", "--sign", str(private), code=1)
    assert told["signed_with"] is None, "what is not sound is not signed"


@pytest.mark.slow
def test_a_private_key_is_not_made_in_the_workspace(shelf: Shelf) -> None:
    inside = shelf.root / "mine.pem"
    told = shelf.run("verify", shelf.name, "--sign", str(inside), "--new-key", code=2)
    assert "workspace" in told["error"]["message"]
    assert not inside.exists()


# ---------------------------------------------------------------- rebuild


@pytest.mark.slow
def test_a_gguf_with_an_importance_matrix_comes_out_again_byte_for_byte(made: Shelf) -> None:
    """And nothing of the second copy stays, in sight or hidden."""
    told = made.run("rebuild", made.name)
    assert (told["status"], told["kept"], told["differences"], told["versions"]) == ("same", None, [], [])
    assert [file["path"] for file in told["files"]] == [made.weights.name]
    assert made.visible() == [made.name]


@pytest.mark.slow
def test_what_differs_is_named_tensor_by_tensor_with_its_divergence(shelf: Shelf) -> None:
    """The artifact here is not what its plan makes: one tensor was changed, and the manifest with it."""
    spoil(shelf.weights, "blk.0.attn_output.weight", bytes)
    rehash(shelf)
    told = shelf.run("rebuild", shelf.name, code=1)
    assert told["status"] == "differs"
    [difference] = told["differences"]
    assert difference["tensor"] == "blk.0.attn_output.weight"
    assert "bytes differ" in difference["detail"]
    assert told["kl_divergence"]["mean"] > 0
    assert shelf.visible() == [shelf.name]


@pytest.mark.slow
def test_a_manifest_alone_becomes_an_artifact_with_the_recorded_bytes(made: Shelf, tmp_path: Path) -> None:
    alone = tmp_path / "manifest.json"
    manifest = made.manifest
    manifest["plan"]["test"] = "none"
    manifest["versions"]["torch"] = "1.0"
    workspace.write_json(alone, manifest)
    elsewhere = tmp_path / "elsewhere"
    done = here(elsewhere, "rebuild", str(alone), env=OFFLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "made by torch 1.0" in done.stderr
    kept = elsewhere / "quantized-models" / made.name
    assert (kept / made.weights.name).read_bytes() == made.weights.read_bytes()
    assert here(elsewhere, "verify", made.name, "--quick").returncode == 0


@pytest.mark.slow
def test_a_source_that_changed_or_is_gone_is_refused_by_name_before_any_work(made: Shelf, tmp_path: Path) -> None:
    source, alone = tmp_path / "small-model", tmp_path / "manifest.json"
    manifest = made.manifest
    manifest["model"]["path"] = manifest["plan"]["model"]["path"] = str(source)
    workspace.write_json(alone, manifest)

    def refused() -> str:
        done = here(tmp_path / "home", "rebuild", str(alone), "--json", env=OFFLINE)
        assert done.returncode == 1, done.stdout
        assert not (tmp_path / "home" / "quantized-models").exists()
        error = json.loads(done.stdout)["error"]
        assert error["remedy"]
        return str(error["message"])

    assert "cannot be had any more" in refused()
    shutil.copytree(made.source, source)
    config = source / "config.json"
    config.write_text(config.read_text() + "\n")
    assert "config.json is another file now" in refused()
    config.unlink()
    shutil.copy(made.source / "config.json", config)
    (source / "special_tokens_map.json").write_text("{}")
    assert "special_tokens_map.json was not there then" in refused()
    (source / "special_tokens_map.json").unlink()
    (source / "generation_config.json").unlink()
    assert "generation_config.json is gone" in refused()


@pytest.mark.slow
def test_a_mix_of_types_comes_out_again_byte_for_byte(tmp_path: Path) -> None:
    """All is measured anew: importance matrix, errors and sensitivities."""
    shelf = Shelf(tmp_path, small_folder(), "--type", "auto", "--target-size", "1.5MB", "--test", "none")
    told = shelf.run("rebuild", shelf.name)
    assert told["status"] == "same", told
    assert sorted(file["path"] for file in told["files"]) == ["small-model-auto.gguf", "tensor-types.txt"]
    assert "_K " in read_header(shelf.weights).metadata["lqmf.types"]
    assert shelf.weights.stat().st_size <= 1_500_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        ("bnb", "--type", "nf4"),
        pytest.param(("bnb", "--type", "int8"), marks=pytest.mark.exhaustive),
        ("gptq", "--bits", "4", "--set", "windows=4"),
    ],
)
def test_what_transformers_runs_comes_out_again_byte_for_byte(tmp_path: Path, method: tuple[str, ...]) -> None:
    if backend(method[0]).available().answer == "no":
        pytest.skip(backend(method[0]).available().reason)
    shelf = Shelf(tmp_path, small_folder(), "--test", "none", "--method", *method)
    assert {"I32", "U8", "I8"} & set(shelf.manifest["tensors"].values())
    told = shelf.run("rebuild", shelf.name)
    assert told["status"] == "same", told
    assert "model.safetensors" in [file["path"] for file in told["files"]]
