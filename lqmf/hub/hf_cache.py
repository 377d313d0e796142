"""The user's Hugging Face cache, read only: snapshots that other tools fetched, used where they are.

Knows the cache's layout (`models--org--name/{refs,snapshots,blobs}`, blobs named by the hash that the Hub gave); knows
nothing of `models/`.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from lqmf.errors import ModelError
from lqmf.hub.journal import has_size
from lqmf.model_files import describe
from lqmf.model_files.refs import is_commit
from lqmf.records import ModelInfo, ModelRef, RemoteFile


def folder() -> Path:
    """Return the folder where huggingface_hub keeps its snapshots, by the environment as it is now."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    said = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(said)).expanduser()


def snapshot_of(info: ModelInfo) -> Path | None:
    """Return the snapshot that holds every file of `info`, checked by size and by the blobs' names; None where a file
    is missing."""
    from huggingface_hub import try_to_load_from_cache

    cache = folder()
    for file in info.files:
        found = try_to_load_from_cache(info.ref.id, file.path, cache_dir=cache, revision=info.commit)
        if not isinstance(found, str) or not _is_blob_of(Path(found), file):
            return None
    snapshot = model_folder(info.ref.id) / "snapshots" / (info.commit or "")
    return snapshot if info.files and snapshot.is_dir() else None


def _is_blob_of(path: Path, file: RemoteFile) -> bool:
    """Return whether `path` holds the content of `file`: the cache names each blob by its hash; a copy (where links are
    not possible) is checked by its size alone."""
    blob = path.resolve().name
    named_right = not path.is_symlink() or blob in (file.sha256, file.git_oid)
    return named_right and has_size(path, file.size_bytes)


def blob(model: str, sha256: str) -> Path:
    """Return the path where the cache keeps the content with that SHA-256, whether it is there or not."""
    return model_folder(model) / "blobs" / sha256


def model_folder(model: str) -> Path:
    """Return the folder where the cache keeps all files of a model."""
    return folder() / ("models--" + model.replace("/", "--"))


def described(ref: ModelRef) -> ModelInfo | None:
    """Return the description of a model that is whole in the cache; None where it is missing or only partly there."""
    model = model_folder(ref.id)
    revision = ref.revision or "main"
    try:
        commit = (model / "refs" / revision).read_text(encoding="utf-8").strip() if ".." not in revision else ""
    except OSError:
        commit = revision
    snapshot = model / "snapshots" / commit
    if not is_commit(commit) or not snapshot.is_dir():
        return None
    try:
        info = describe.describe_folder(ref, snapshot, commit=commit, links=model / "blobs")
    except ModelError:
        return None  # only part of it was ever fetched
    return _with_blob_hashes(info, snapshot) if info.has_tokenizer and info.weights_bytes else None


def _with_blob_hashes(info: ModelInfo, snapshot: Path) -> ModelInfo:
    """Return `info` with each file's hash, read from its blob's name: these are the hashes that the Hub gave."""
    files = []
    for file in info.files:
        name = (snapshot / file.path).resolve().name
        files.append(
            dataclasses.replace(
                file, sha256=name if len(name) == 64 else None, git_oid=name if len(name) == 40 else None
            )
        )
    return dataclasses.replace(info, files=tuple(files))
