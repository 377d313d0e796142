"""The workspace: where a user's data lies, and how an output folder appears complete or not at all.

Knows paths and the file system; knows nothing about models, jobs or settings' meaning.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import json
import math
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf.errors import LqmfError, ModelError, NotFound, UsageError

HIDDEN = ".building-"  # folders under construction: nothing that starts so is an artifact
FOREIGN_KEYS = ("model_type", "architectures")  # a config.json with these is a model's, not ours
MANIFEST, RECEIPT, CARD, MODELFILE = "manifest.json", "receipt.json", "README.md", "Modelfile"
REWRITABLE = (RECEIPT, CARD, MODELFILE)
SIGNATURE = "manifest.sig"  # over the manifest, where somebody signed it
CHUNK = 1 << 20
LONGEST_NAME, LONGEST_MODEL = 200, 140  # bytes of an artifact's name, and of its model's in it; file systems take 255
LARGEST = 1 << 63  # no file, and no count of anything in one, is as large
CACHE_VARIABLE = "LQMF_CACHE_DIR"

_measured: ContextVar[Path | None] = ContextVar("measured", default=None)


@dataclass(frozen=True)
class Workspace:
    """The folders of one workspace; each is created on first use."""

    root: Path
    models: Path
    artifacts: Path
    configs: Path
    logs: Path
    store: Path
    benchmarks: Path

    def relocated(self, folders: Mapping[str, str]) -> Workspace:
        """Return this workspace with some folders elsewhere; relative folders count from the root."""
        moved = {name: self.root / os.path.expanduser(folder) for name, folder in folders.items()}
        return dataclasses.replace(self, **moved)


def at(root: Path) -> Workspace:
    """Return the default layout of a workspace below `root`."""
    return Workspace(
        root=root,
        models=root / "models",
        artifacts=root / "quantized-models",
        configs=root / "configs",
        logs=root / "logs",
        store=root / "mcp",
        benchmarks=root / "benchmarks",
    )


def find_root(explicit: str | None, start: Path, environment: Mapping[str, str]) -> tuple[Path, str]:
    """Return the workspace's root and the reason: --workspace, LQMF_HOME, the nearest config.json upward that is ours,
    ~/.lqmf."""
    if explicit:
        return Path(os.path.expanduser(explicit)).absolute(), "--workspace"
    if environment.get("LQMF_HOME"):
        return Path(os.path.expanduser(environment["LQMF_HOME"])).absolute(), "LQMF_HOME"
    for folder in (start, *start.parents):
        if _is_ours(folder / "config.json"):
            return folder, "config.json"
    return Path.home() / ".lqmf", "default"


def _is_ours(config: Path) -> bool:
    """Return whether a config.json is ours: it names no model. A broken one counts as ours, so that its error is
    told."""
    try:
        text = config.read_text(encoding="utf-8")
        document = json.loads(text)
    except OSError:
        return False
    except ValueError:
        return not any(f'"{key}"' in config.read_text(encoding="utf-8", errors="replace") for key in FOREIGN_KEYS)
    return isinstance(document, dict) and not any(key in document for key in FOREIGN_KEYS)


# ---------------------------------------------------------------- artifacts' folders


def safe_name(text: str, most_bytes: int = LONGEST_NAME) -> str:
    """Return `text` as one file name of at most `most_bytes` bytes, which no command takes for an option: each run of
    other characters than letters and digits (of any script), '.', '_', '-' and '+' becomes '_'."""
    spelled = re.sub(r"[^\w.+-]+", "_", unicodedata.normalize("NFC", text)).lstrip("._-")
    return spelled.encode()[:most_bytes].decode(errors="ignore").rstrip("._") or "model"


def next_version(folder: Path, name: str) -> str:
    """Return the first of `name`, `name_v2`, `name_v3`, .. that no entry of `folder` has."""
    taken = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if name not in taken:
        return name
    return next(f"{name}_v{n}" for n in range(2, len(taken) + 3) if f"{name}_v{n}" not in taken)


def building(folder: Path, job: str) -> Path:
    """Create an empty hidden folder beside the artifacts, to build a job's artifact in; return its path."""
    place = folder / f"{HIDDEN}{job}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def publish(place: Path, name: str, stamp: Callable[[str], None]) -> Path:
    """Make a built folder visible and return its path: sync all files, then rename the folder. Two folders of one name
    get different versions.

    `stamp` writes the files that depend on the final name; it is called again when another process took that name
    first.
    """
    while True:
        target = place.parent / next_version(place.parent, name)
        stamp(target.name)
        _sync_tree(place)
        try:
            os.rename(place, target)
        except OSError:
            if not target.exists():
                raise
            continue
        _sync(target.parent)
        return target


def _sync_tree(place: Path) -> None:
    for file in place.rglob("*"):
        _sync(file)
    _sync(place)


def remove_leftovers(folder: Path, job: str) -> None:
    """Remove the hidden folder of a job that is known to be dead."""
    shutil.rmtree(folder / f"{HIDDEN}{job}", ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a folder or file; it is hidden first, in one step. Raises LqmfError when the system refuses."""
    hidden = path.with_name(f"{HIDDEN}deleted-{os.getpid()}-{path.name}")
    try:
        path.rename(hidden)
        if hidden.is_dir():
            shutil.rmtree(hidden)
        else:
            hidden.unlink()
    except OSError as error:
        raise LqmfError(f"{path} cannot be removed: {error.strerror}.", f"Check who owns {path}.") from error


def _sync(path: Path) -> None:
    if path.is_dir() and sys.platform == "win32":
        return  # Windows has no handle to sync a folder by
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, document: Any) -> None:
    """Write `document` as JSON so that a reader, and a crash, sees the old file or the new one."""
    write_text(path, json_text(document))


def json_text(document: Any) -> str:
    """Return a document as the text of a JSON file of ours."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 so that a reader, and a crash, sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Return the document in `path`. Raises NotFound when the file is missing, UsageError when it is no JSON, or holds
    a number that is not finite or an integer of 2**63 or more."""
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text, parse_float=_finite, parse_constant=_finite, parse_int=_countable)
    except FileNotFoundError as error:
        raise NotFound(f"There is no {path.name} in {path.parent}.", "`lqmf list` shows what there is.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid JSON: {error}.", "Restore the file from a copy.") from error


def kept_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; {} where the file is missing or spoilt, as what can be made again may be."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def keep_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write what can be made again: a reader sees all of it or none; a power cut may take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(document), encoding="utf-8")
    os.replace(fresh, path)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _countable(text: str) -> int:
    number = int(text)
    if abs(number) >= LARGEST:
        raise ValueError(f"{text[:30]} is too large a number")
    return number


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def take(file: Path, target: Path) -> None:
    """Link `file` to `target`, or copy it where the disk has no links. Replaces `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def file_entries(folder: Path, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Return {"path", "size_bytes", "sha256", "immutable"} for files of an artifact (those in `names`, else all but its
    manifest), in order of path."""
    everything = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
    return [
        {
            "path": name,
            "size_bytes": (folder / name).stat().st_size,
            "sha256": sha256(folder / name),
            "immutable": name not in REWRITABLE,
        }
        for name in sorted(everything if names is None else names)
    ]


def rewrite_mutable(folder: Path, texts: Mapping[str, str]) -> None:
    """Write `texts`, by file name, as the receipt, card or Modelfile of an artifact; then the manifest with their new
    hashes."""
    for name, text in texts.items():
        write_text(folder / name, text)
    manifest = read_json(folder / MANIFEST)
    kept = [entry for entry in manifest["files"] if entry["path"] not in texts]
    manifest["files"] = sorted([*kept, *file_entries(folder, texts)], key=lambda entry: str(entry["path"]))
    write_json(folder / MANIFEST, manifest)


def nearest(word: str, words: list[str]) -> str | None:
    """Return the word of `words` that is most similar to `word`; None where no word is similar."""
    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=0.6)), None)


@contextlib.contextmanager
def work(folder: Path, key: str) -> Iterator[Path]:
    """Yield a hidden folder for intermediate files, removed at the end. After an error or a kill it stays, so that the
    next try with the same `key` can go on from it, unless the error says that no try can succeed (ModelError,
    UsageError)."""
    place = folder / f"{HIDDEN}work-{key}"
    place.mkdir(parents=True, exist_ok=True)
    try:
        yield place
    except (ModelError, UsageError):
        shutil.rmtree(place, ignore_errors=True)
        raise
    except BaseException:
        with contextlib.suppress(OSError):
            place.rmdir()  # only when nothing was made
        raise
    shutil.rmtree(place, ignore_errors=True)


# ---------------------------------------------------------------- the cache, which no workspace owns


def cache_dir() -> Path:
    """Return the folder of LQMF's cache: `LQMF_CACHE_DIR`, else in the platform's folder of caches."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData/Local"))) / "lqmf" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lqmf"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lqmf"


@contextlib.contextmanager
def measured_afresh(folder: Path) -> Iterator[None]:
    """Hide the measurements of models' weights that earlier jobs made, while the block runs: new ones go into
    `folder`."""
    token = _measured.set(folder)
    try:
        yield
    finally:
        _measured.reset(token)


def measured_dir() -> Path:
    """Return the folder of measurements of models' weights: importance matrices, sensitivities, errors."""
    return _measured.get() or cache_dir()


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an advisory lock on `path` while the block runs; a second process waits. The system drops the lock when its
    holder dies."""
    with path.open("a+b") as handle:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
