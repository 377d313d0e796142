"""Signs manifests and checks signatures: Ed25519 (RFC 8032), detached, in `manifest.sig` beside the manifest.

The signature covers the parts of a manifest that never change: all but the entries of receipt, card and Modelfile, with
files sorted by path, as JSON with sorted keys and no spaces, in UTF-8. The manifest holds the hash of every other file,
so the signature covers weights, tokenizer and configuration. Keys are the user's own, in PEM files as `openssl genpkey
-algorithm ed25519` makes them; a private key is read, used and forgotten. Knows keys and manifests; opens no other
file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.errors import NotBuilt, UsageError
from lqmf.records import Check, Manifest, from_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FORMAT, ALGORITHM = 1, "Ed25519"
_MAKE = "`openssl genpkey -algorithm ed25519 -out private.pem` makes one, as does --new-key."
_PUBLIC = "`openssl pkey -in private.pem -pubout -out public.pem` gives the public one."


def signed_part(folder: Path) -> bytes:
    """Return the bytes of the manifest in `folder` that are signed. Rewritable files are left out by their fixed names:
    a manifest cannot exempt others. Keys that this version does not know are signed too. Raises InvalidRecord."""
    document = workspace.read_json(folder / workspace.MANIFEST)
    from_json(Manifest, document)
    kept = [entry for entry in document["files"] if entry["path"] not in workspace.REWRITABLE]
    kept.sort(key=lambda entry: entry["path"])
    return json.dumps({**document, "files": kept}, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sign(folder: Path, private: Path, passphrase: str | None = None) -> str:
    """Sign the manifest in `folder`, replacing an earlier signature, and return the key's fingerprint.

    Raises NotBuilt without cryptography, UsageError for a file that is not an Ed25519 key and for a wrong passphrase.
    """
    key = _private(private, passphrase)
    name = fingerprint(key.public_key())
    signature = base64.b64encode(key.sign(signed_part(folder))).decode()
    told = {"format_version": FORMAT, "algorithm": ALGORITHM, "key": name, "signature": signature}
    workspace.write_json(folder / workspace.SIGNATURE, told)
    return name


def is_locked(private: Path) -> bool:
    """Tell whether the private key needs a passphrase. Raises UsageError for a file that cannot be read."""
    data = _read(private)
    return b"BEGIN ENCRYPTED PRIVATE KEY" in data or b"Proc-Type: 4,ENCRYPTED" in data


def check(folder: Path, public: Path) -> Check:
    """Return the check that the owner of the key in `public` signed the manifest in `folder`, and it is unchanged.

    Raises NotBuilt without cryptography, UsageError for a file that is not an Ed25519 public key.
    """
    key = _public(public)
    from cryptography.exceptions import InvalidSignature

    name, told = fingerprint(key), _signature(folder)
    if isinstance(told, str):
        return Check("signature", False, told)
    if told["key"] != name:
        return Check("signature", False, f"it was signed with another key: {told['key']}, and this one is {name}")
    try:
        key.verify(base64.b64decode(told["signature"], validate=True), signed_part(folder))
    except (InvalidSignature, ValueError):  # what of the two is no longer in its form counts, too
        return Check("signature", False, "the manifest is not what was signed: one of the two was changed since")
    return Check("signature", True, f"signed with {name}; receipt, card and Modelfile may change and are not covered")


def signer(folder: Path) -> str | None:
    """Return the fingerprint of the key that the signature beside the manifest names; None without one. Proves
    nothing."""
    told = _signature(folder)
    return None if isinstance(told, str) else str(told["key"])


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the name of a public key for people: "SHA256:" and the hash of its 32 bytes in base64, as OpenSSH writes
    it."""
    digest = hashlib.sha256(key.public_bytes_raw()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def new_key(private: Path) -> Path:
    """Make a key pair: `private`, readable by its owner alone, and the public key beside it, whose path is returned.
    Raises NotBuilt without cryptography, and UsageError where a file exists already or cannot be written."""
    _library()
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = private.with_name(f"{private.stem}.public.pem")
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    open_part = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    if public.exists():
        raise _there(public)
    _written(private, secret, 0o600)
    _written(public, open_part, 0o644)
    return public


# ---------------------------------------------------------------- keys


def _written(path: Path, data: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise _there(path) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Name a file in a folder of yours.") from error
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def _there(path: Path) -> UsageError:
    return UsageError(f"{path} is there already: a key is never overwritten.", "Leave --new-key out, or name another.")


def _library() -> None:
    """Raise NotBuilt with the install command where cryptography is missing."""
    from lqmf.installed import verdict

    found = verdict({"cryptography": "cryptography"}, "sign")
    if found.answer == "no":
        raise NotBuilt(f"Signatures need cryptography: {found.reason}", "Run `pip install 'lqmf[sign]'`.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"The key {path} cannot be read: {error.strerror}.", _MAKE) from error


def _private(path: Path, passphrase: str | None) -> Ed25519PrivateKey:
    _library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    try:
        key = load_pem_private_key(data, passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: so it says that a passphrase is needed
        if passphrase:
            raise UsageError(f"The passphrase of {path} is wrong.", "Try again.") from error
        raise UsageError(f"{path} holds no private key in PEM form.", _MAKE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is no Ed25519 key.", _MAKE)
    return key


def _public(path: Path) -> Ed25519PublicKey:
    _library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path)
    if b"PRIVATE KEY" in data:
        raise UsageError(f"{path} is a private key; a signature is checked with the public one.", _PUBLIC)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} holds no public key in PEM form.", _PUBLIC) from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} is no Ed25519 key.", _MAKE)
    return key


# ---------------------------------------------------------------- files


def _signature(folder: Path) -> dict[str, Any] | str:
    """The signature beside the manifest, or a sentence on why there is none."""
    path = folder / workspace.SIGNATURE
    if not path.is_file():
        return f"there is no {path.name}: it was not signed, or the signature was removed"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["algorithm"] == ALGORITHM and isinstance(told["key"], str) and isinstance(told["signature"], str):
            return dict(told)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return f"{path.name} holds no {ALGORITHM} signature"
