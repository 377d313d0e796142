"""A signature holds as long as nothing that counts has changed, and says in words why it does not. With real keys."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lqmf import workspace
from lqmf.artifacts import signing
from lqmf.errors import LqmfError, NotBuilt, UsageError
from lqmf.records import FileEntry, Manifest, ModelRef, to_json

pytest.importorskip("cryptography")

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact's folder, small, with a manifest of its files."""
    place = tmp_path / "artifact"
    place.mkdir()
    (place / "m.gguf").write_bytes(b"weights")
    (place / "receipt.json").write_text("{}")
    (place / "README.md").write_text("card")
    files = tuple(FileEntry(**entry) for entry in workspace.file_entries(place))
    model, made = ModelRef("demo", "demo"), "2026-01-01T00:00:00+00:00"
    manifest = Manifest(1, "ü", model, None, {}, {"x": 0.1}, files, {"lqmf": "0"}, made, 2)
    workspace.write_json(place / "manifest.json", to_json(manifest))
    return place


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    private = tmp_path / "mine.pem"
    return private, signing.new_key(private)


def rewrite(folder: Path, change: Change) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    workspace.write_json(path, manifest)


def test_what_was_signed_is_proven_by_the_public_key_alone(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    name = signing.sign(folder, private)
    private.unlink()
    found = signing.check(folder, public)
    assert found.passed, found.detail
    assert name in found.detail
    assert signing.signer(folder) == name


@pytest.mark.parametrize("broken", ["[]", "{}", '{"files": 3}', '{"files": [{}]}'])
def test_a_manifest_that_is_none_any_more_fails_and_does_not_crash(
    folder: Path, keys: tuple[Path, Path], broken: str
) -> None:
    signing.sign(folder, keys[0])
    (folder / "manifest.json").write_text(broken)
    assert signing.check(folder, keys[1]).passed is False


def test_a_signature_of_other_letters_fails_and_does_not_crash(folder: Path, keys: tuple[Path, Path]) -> None:
    signing.sign(folder, keys[0])
    told = json.loads((folder / "manifest.sig").read_text())
    workspace.write_json(folder / "manifest.sig", {**told, "signature": "ü" * 88})
    assert signing.check(folder, keys[1]).passed is False


def test_receipt_and_card_may_be_rewritten_and_the_manifest_laid_out_anew(
    folder: Path, keys: tuple[Path, Path]
) -> None:
    signing.sign(folder, keys[0])
    workspace.rewrite_mutable(folder, {"receipt.json": '{"perplexity": 1}', "README.md": "another"})
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(dict(reversed(manifest.items()))))
    assert signing.check(folder, keys[1]).passed


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(name="another"),
        lambda m: m["plan"].update(x=0.2),
        lambda m: m.update(extra=None),
        lambda m: next(f for f in m["files"] if f["immutable"]).update(sha256="0" * 64),
        lambda m: m["files"].remove(next(f for f in m["files"] if f["immutable"])),
        lambda m: next(f for f in m["files"] if f["immutable"]).update(immutable=False),
        lambda m: m["files"].append({"path": "more.safetensors", "size_bytes": 1, "sha256": "", "immutable": False}),
    ],
)
def test_any_other_change_of_the_manifest_breaks_the_signature(
    folder: Path, keys: tuple[Path, Path], change: Change
) -> None:
    signing.sign(folder, keys[0])
    rewrite(folder, change)
    found = signing.check(folder, keys[1])
    assert not found.passed
    assert "not what was signed" in found.detail


def test_another_key_a_missing_and_a_broken_signature_are_each_told_apart(
    folder: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    assert "there is no manifest.sig" in signing.check(folder, keys[1]).detail
    signing.sign(folder, keys[0])
    other = signing.new_key(tmp_path / "other.pem")
    assert "another key" in signing.check(folder, other).detail
    told = json.loads((folder / "manifest.sig").read_text())
    for broken in ("", "{}", "[]", json.dumps({**told, "algorithm": "RSA"})):
        (folder / "manifest.sig").write_text(broken)
        assert "holds no Ed25519 signature" in signing.check(folder, keys[1]).detail
    for signature in ("", "AAAA", "no base64!"):
        (folder / "manifest.sig").write_text(json.dumps({**told, "signature": signature}))
        assert "not what was signed" in signing.check(folder, keys[1]).detail


def test_a_made_key_is_for_its_owners_eyes_and_never_overwritten(keys: tuple[Path, Path]) -> None:
    private, public = keys
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        signing.new_key(private)
    public.unlink()
    with pytest.raises(UsageError, match="is there already"):
        signing.new_key(private)
    assert private.read_bytes() == before


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_keys_made_by_openssl_work_and_openssl_confirms_the_signature(folder: Path, tmp_path: Path) -> None:
    """Which also says what exactly is signed, without this project's code."""
    private, public, locked = (tmp_path / name for name in ("k.pem", "k.pub", "locked.pem"))
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    openssl("pkey", "-in", private, "-aes256", "-passout", "pass:secret", "-out", locked)
    signing.sign(folder, private)
    assert signing.check(folder, public).passed
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = [entry for entry in manifest["files"] if entry["path"] not in ("receipt.json", "README.md")]
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (tmp_path / "signed").write_bytes(text.encode())
    told = json.loads((folder / "manifest.sig").read_text())["signature"]
    openssl("base64", "-d", "-A", "-out", tmp_path / "sig", stdin=told)
    openssl(
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        public,
        "-rawin",
        "-in",
        tmp_path / "signed",
        "-sigfile",
        tmp_path / "sig",
    )
    assert (signing.is_locked(private), signing.is_locked(locked)) == (False, True)
    (folder / "manifest.sig").unlink()
    with pytest.raises(UsageError, match="passphrase"):
        signing.sign(folder, locked, "wrong")
    assert not (folder / "manifest.sig").exists()
    signing.sign(folder, locked, "secret")
    assert signing.check(folder, public).passed


def openssl(*arguments: str | Path, stdin: str = "") -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin.encode(), capture_output=True)
    assert done.returncode == 0, done.stderr


def test_what_is_no_such_key_is_refused_in_words(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    signing.sign(folder, private)
    rsa = tmp_path / "rsa.pem"
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import rsa as algorithm

    made = algorithm.generate_private_key(65537, 2048)
    rsa.write_bytes(made.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    (tmp_path / "text.pem").write_text("no key")
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: signing.check(folder, private), "is a private key"),
        (lambda: signing.check(folder, tmp_path / "text.pem"), "no public key"),
        (lambda: signing.check(folder, tmp_path / "none.pem"), "cannot be read"),
        (lambda: signing.sign(folder, public), "no private key"),
        (lambda: signing.sign(folder, rsa), "no Ed25519 key"),
    ]
    for attempt, told in cases:
        with pytest.raises(UsageError, match=told) as error:
            attempt()
        assert error.value.remedy


def test_without_the_library_the_install_command_is_named(folder: Path, keys: tuple[Path, Path]) -> None:
    """In a process of its own, in which cryptography cannot be found."""
    code = f"""
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cryptography":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "cryptography" else find(name, package)
from pathlib import Path
from lqmf.artifacts import signing
from lqmf.errors import NotBuilt
for attempt in (lambda: signing.sign(Path({str(folder)!r}), Path({str(keys[0])!r})),
                lambda: signing.check(Path({str(folder)!r}), Path({str(keys[1])!r})),
                lambda: signing.new_key(Path({str(folder)!r}, "new.pem"))):
    try:
        attempt()
    except NotBuilt as error:
        print(error.remedy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.count("pip install 'lqmf[sign]'") == 3, done.stderr
    assert issubclass(NotBuilt, LqmfError)
