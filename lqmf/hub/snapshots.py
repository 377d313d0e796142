"""Finds and keeps snapshots on this machine, and tells when a snapshot is whole. Knows folders; knows no network.

    models/<org>--<name>/<commit>/            a whole, verified snapshot, with its marker `.lqmf.json`
    models/<org>--<name>/.partial-<commit>/   a snapshot that is being fetched
    models/<org>--<name>/refs.json            which commit a revision meant when it was last fetched

Snapshots in the user's Hugging Face cache are used where they are and never written to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from lqmf import workspace
from lqmf.errors import UsageError
from lqmf.hub import hf_cache
from lqmf.hub.journal import has_size, paths_of, proven
from lqmf.hub.ranges import covered
from lqmf.model_files import describe
from lqmf.model_files.refs import is_commit, is_repo_id, printable
from lqmf.records import ModelInfo, ModelRef, RemoteFile, from_json, to_json

MARKER = ".lqmf.json"
LOCK = ".lock"
_REFS = "refs.json"


def model_folder(dest_root: Path, model: str) -> Path:
    """Return the folder of all snapshots of a model. Raises UsageError for an id that could lead elsewhere."""
    if not is_repo_id(model):
        raise UsageError(f"'{printable(model)}' is no Hub id.", "Type org/name, as on the Hub.")
    return dest_root / model.replace("/", "--")


def snapshot_folder(dest_root: Path, info: ModelInfo) -> Path:
    """Return the folder of the whole snapshot of `info`, which may not exist yet. Raises UsageError without a
    commit."""
    return model_folder(dest_root, info.ref.id) / _commit(info)


def partial_folder(dest_root: Path, info: ModelInfo) -> Path:
    """Return the folder where the snapshot of `info` is being fetched. Raises UsageError without a commit."""
    return model_folder(dest_root, info.ref.id) / f".partial-{_commit(info)}"


def arrivals(info: ModelInfo, dest_root: Path) -> tuple[Path, ...]:
    """Return the folders where a verified file may be found under its own path while `fetch` runs: the folder where all
    of `info` lies, or the partial folder first and then the snapshot that it becomes."""
    ready = present(info, dest_root)
    return (ready,) if ready else (partial_folder(dest_root, info), snapshot_folder(dest_root, info))


def shards(info: ModelInfo) -> tuple[RemoteFile, ...]:
    """Return the files of weights in the order of their numbers, which is the order in which they are fetched."""
    return tuple(sorted((f for f in info.files if f.path.endswith(".safetensors")), key=lambda f: f.path))


def identity(file: RemoteFile) -> str:
    """Return the hash of the content that a file must have: "sha256:.." or "git:.."."""
    return f"sha256:{file.sha256}" if file.sha256 else f"git:{file.git_oid}"


def present(info: ModelInfo, dest_root: Path) -> Path | None:
    """Return the folder that holds every file of `info` whole: ours, or a snapshot in the Hugging Face cache; else
    None."""
    if info.ref.kind != "hub":
        return describe.local_folder(info.ref)
    ours = snapshot_folder(dest_root, info)
    if (ours / MARKER).is_file() and all(has_size(ours / f.path, f.size_bytes) for f in info.files):
        return ours
    return hf_cache.snapshot_of(info)


def missing_bytes(info: ModelInfo, dest_root: Path) -> int:
    """Return how many bytes `fetch` would still download: 0 for a model that is here; bytes that a partial download
    proves are not counted."""
    if present(info, dest_root) is not None:
        return 0
    folder, here = partial_folder(dest_root, info), reusable(info, dest_root)
    return sum(f.size_bytes - have(folder / f.path, f) for f in info.files if f.path not in here)


def is_whole(target: Path, file: RemoteFile) -> bool:
    """Return whether a file that was being fetched has its own name, which it gets when it is verified."""
    return has_size(target, file.size_bytes) and not paths_of(target)[1].exists()


def have(target: Path, file: RemoteFile) -> int:
    """Return how many bytes of a file that is being fetched are proven."""
    if is_whole(target, file):
        return file.size_bytes
    return covered(proven(target, file.size_bytes, identity(file)))


def reusable(info: ModelInfo, dest_root: Path) -> dict[str, Path]:
    """Return the files of `info` (by path) whose content is already here, in another commit's snapshot or in the
    cache's blobs."""
    known: dict[str, Path] = {}
    for marker in model_folder(dest_root, info.ref.id).glob(f"*/{MARKER}"):
        known |= {sha256: marker.parent / path for path, sha256 in hashes(marker.parent).items()}
    found = {f.path: known.get(f.sha256, hf_cache.blob(info.ref.id, f.sha256)) for f in info.files if f.sha256}
    return {f.path: found[f.path] for f in info.files if f.path in found and has_size(found[f.path], f.size_bytes)}


def take(source: Path, target: Path) -> None:
    """Place the content of `source` at `target`: as a hard link where the disk allows it, as a copy otherwise."""
    target.unlink(missing_ok=True)  # a link from a call that was killed
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def find_local(ref: ModelRef, dest_root: Path) -> ModelInfo | None:
    """Return the description of a model that is whole on this machine, without any network; None where it is not.

    A branch means the commit that it meant when it was last fetched.
    """
    if ref.kind != "hub":
        return describe.describe_folder(ref, describe.local_folder(ref))
    folder = model_folder(dest_root, ref.id)
    commit = _refs(folder).get(ref.revision or "main") or ref.revision or ""
    marker = folder / commit / MARKER
    if is_commit(commit) and marker.is_file():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a damaged marker: as if it were not there
            info = from_json(ModelInfo, workspace.kept_json(marker)["info"])
            if all(has_size(marker.parent / f.path, f.size_bytes) for f in info.files):
                return dataclasses.replace(info, ref=ref)
    return hf_cache.described(ref)


def publish(info: ModelInfo, dest_root: Path, sha256: Mapping[str, str]) -> Path:
    """Turn a verified partial folder into the snapshot, by one rename, and return it; `sha256` holds every file's, by
    path."""
    partial, final = partial_folder(dest_root, info), snapshot_folder(dest_root, info)
    files = [{"path": f.path, "size_bytes": f.size_bytes, "sha256": sha256[f.path]} for f in info.files]
    _drop_others(partial, info)
    write_synced(partial / MARKER, json.dumps({"version": 1, "files": files, "info": to_json(info)}, indent=1))
    if final.exists():  # left without a marker, or damaged since
        shutil.rmtree(final)
    os.replace(partial, final)
    return final


def _drop_others(folder: Path, info: ModelInfo) -> None:
    wanted = {folder / file.path for file in info.files}
    for path in folder.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()


def remember(info: ModelInfo, dest_root: Path) -> None:
    """Note which commit the revision meant, so that the next lookup needs no network."""
    folder = model_folder(dest_root, info.ref.id)
    known = _refs(folder)
    revision = info.ref.revision or "main"
    if folder.is_dir() and info.commit and known.get(revision) != info.commit:
        write_synced(folder / _REFS, json.dumps({**known, revision: info.commit}, indent=1))


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 by path of a snapshot that LQMF fetched; empty for any other folder."""
    try:
        return {f["path"]: f["sha256"] for f in workspace.kept_json(folder / MARKER)["files"]}
    except (KeyError, TypeError):
        return {}


def clean_orphans(dest_root: Path, *, older_than_days: float = 7.0, keep: Path | None = None) -> int:
    """Remove partial downloads that nobody touched for `older_than_days`; return the bytes freed. A model whose lock
    another process holds and the folder `keep` stay."""
    from filelock import FileLock, Timeout

    freed = 0
    for model in {folder.parent for folder in dest_root.glob("*/.partial-*")}:
        with contextlib.suppress(Timeout), FileLock(model / LOCK, timeout=0):
            freed += _clean_model(model, older_than_days, keep)
    return freed


def _clean_model(model: Path, older_than_days: float, keep: Path | None) -> int:
    """Remove the orphans in one model's folder, whose lock the caller holds; return the bytes freed."""
    freed, before = 0, time.time() - older_than_days * 86400
    for folder in model.glob(".partial-*"):
        files = [path for path in folder.rglob("*") if path.is_file()]
        newest = max((path.stat().st_mtime for path in [folder, *files]), default=0.0)
        if folder != keep and newest < before:
            freed += sum(path.stat().st_size for path in files)
            shutil.rmtree(folder, ignore_errors=True)
    return freed


def write_synced(path: Path, text: str) -> None:
    """Write the text beside `path`, sync it and rename it, so that `path` holds the whole new text or the old one."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def _commit(info: ModelInfo) -> str:
    if not info.commit or not is_commit(info.commit):
        raise UsageError(f"{info.ref.id} has no commit to be kept under.", f"Look it up: lqmf preflight {info.ref.id}")
    return info.commit


def _refs(folder: Path) -> dict[str, str]:
    return {k: v for k, v in workspace.kept_json(folder / _REFS).items() if isinstance(v, str)}
