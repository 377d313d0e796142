"""The shelf: lists the artifacts on disk, and finds the artifact that a name means. Reads folders; measures and changes
nothing.

An artifact is a visible folder with a manifest. Besides these, GGUF files and folders of quantized safetensors (GPTQ,
auto-gptq's old layout, AWQ, bitsandbytes) that someone dropped there are found too, alone, in a folder of their own, or
a folder deeper (organisation/model/file): they are `foreign`, known only by their headers and configurations. A folder
whose manifest cannot be read is `damaged`, so that it can be seen and deleted.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lqmf.declared import methods
from lqmf.errors import AmbiguousName, LqmfError, NotFound, UsageError
from lqmf.model_files import safetensors_folder, safetensors_header
from lqmf.model_files.gguf_files import is_gguf, model_file, model_files
from lqmf.model_files.gguf_header import read_header, shards
from lqmf.model_files.safetensors_folder import Scheme
from lqmf.records import (
    UNREADABLE,
    Artifact,
    InvalidRecord,
    Manifest,
    QuantizationPlan,
    from_json,
    readable,
    unreadable,
)
from lqmf.workspace import MANIFEST, RECEIPT, read_json

WEIGHTS = (".gguf", ".safetensors")
_BARE_PLAN = {"id": "", "model": {"kind": "demo", "id": ""}, "commit": None, "format": "gguf", "device": "cpu"}
Tell = Callable[[str], None]
OnDisk = tuple[Artifact, Manifest]


class Shelf:
    """The artifacts in one folder. `tell` gets a sentence, once each, on a damaged artifact and on a foreign file left
    out."""

    def __init__(self, folder: Path, tell: Tell) -> None:
        self._folder = folder
        self._tell = tell
        self._told: set[str] = set()

    def artifacts(self) -> list[Artifact]:
        """Return every artifact, foreign GGUF files included, the newest first."""
        return discover(self._folder, self._tell_once)

    def find(self, name: str | None) -> Artifact:
        """Return an artifact by name, part of a name, or path; without a name the newest artifact. Raises NotFound,
        AmbiguousName."""
        everything = self.artifacts()
        if name:
            return find(name, everything)
        if not everything:
            raise NotFound("There is no artifact yet.", "`lqmf quantize demo` makes one.")
        return everything[0]

    def _tell_once(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._tell(sentence)


def manifest_of(artifact: Artifact) -> Manifest | None:
    """Return an artifact's manifest; None for an artifact that LQMF did not make."""
    return None if artifact.foreign else manifest(Path(artifact.path))


def discover(folder: Path, on_broken: Tell = lambda sentence: None) -> list[Artifact]:
    """Return every artifact in `folder`, newest first, damaged ones last; hidden entries are skipped. `on_broken` gets
    a sentence on each manifest or receipt that cannot be read, and on each foreign file that is left out."""
    found: list[Artifact] = []
    for path in _candidates(folder):
        has_manifest = _has_manifest(path)
        try:
            found.append(made(path) if has_manifest else foreign(path))
        except (LqmfError, OSError) as error:
            found += [_damaged(path)] if has_manifest else []
            on_broken(f"{path.name} is {'damaged' if has_manifest else 'left out'}: {error}{_remedy(error)}")
            continue
        if why := _unread(found[-1]):
            on_broken(f"{path.name} counts as not measured: {why}. `lqmf test {path.name}` measures it again.")
    return sorted(found, key=lambda artifact: artifact.created_at, reverse=True)


def _remedy(error: LqmfError | OSError) -> str:
    return f" {error.remedy}" if isinstance(error, LqmfError) and error.remedy else ""


def _unread(artifact: Artifact) -> str | None:
    """Return why the receipt of `artifact` cannot be read; None for a readable receipt, and where there is no
    receipt."""
    why = str(((artifact.receipt or {}).get("reasons") or {}).get("*", ""))
    return why if why.startswith(UNREADABLE) else None


def find(name: str, artifacts: Sequence[Artifact]) -> Artifact:
    """Return the artifact that `name` means: a path, else its exact name, else the file name of a foreign GGUF, else
    the only artifact whose name contains `name` (in any case of letters), else the only one of that type. Raises
    AmbiguousName for several, NotFound for none, and the errors of reading a foreign file."""
    if (
        name.startswith(("./", "../", "/", "~"))
        or name == "."
        or name.lower().endswith(".gguf")
        or Path(name).is_absolute()
    ):
        path = Path(os.path.expanduser(name)).absolute()  # an unknown ~user stays as it is
        if path.exists():
            return _at_path(path, artifacts)
    for matches in _tries(name, artifacts):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise AmbiguousName(name, [artifact.name for artifact in matches])
    raise _unknown(name, artifacts)


def receipt_path(path: Path) -> Path:
    """Return the path of the receipt of the artifact at `path`: in its folder, or beside a foreign file."""
    return path / RECEIPT if path.is_dir() else path.with_name(f"{path.stem}.{RECEIPT}")


def paths(artifact: Artifact) -> list[Path]:
    """Return the paths of an artifact on disk: its folder, or a foreign file with its other shards and its receipt."""
    path = Path(artifact.path)
    if path.is_dir():
        return [path]
    try:
        files = shards(path)
    except LqmfError:  # damaged, or a shard is missing: then only this one is known to belong
        files = [path]
    return [file for file in (*files, receipt_path(path)) if file.exists()]


def foreign(path: Path) -> Artifact:
    """Return an artifact for a GGUF file, a folder with one, or a folder of quantized safetensors, that LQMF did not
    make. Raises NotFound, ModelError, and UsageError when the folder holds several GGUF files."""
    if path.is_dir() and (how := _quantized(path)):
        files = safetensors_header.weights(path)
        named = how.told.get("model_name_or_path") or safetensors_folder.config(path).get("_name_or_path")
        return _found(path, files, method=how.method, bits=how.bits, type=how.type, model=str(named or ""))
    file = model_file(path)
    header = read_header(file)
    named = header.metadata.get("general.name", "")
    return _found(path, shards(file), method="gguf", bits=header.bits, type=header.type, model=str(named))


def _found(path: Path, files: Sequence[Path], **told: Any) -> Artifact:
    """The foreign artifact at `path` whose weights are in `files`."""
    size = sum(file.stat().st_size for file in files)
    receipt = _receipt(receipt_path(path))
    return Artifact(
        name=path.name if path.is_dir() else path.stem,
        path=str(path),
        size_bytes=size,
        source_size_bytes=None,
        compression_ratio=None,
        created_at=_iso(files[0].stat().st_mtime),
        foreign=True,
        receipt=receipt if receipt and receipt.get("size_bytes") == size else None,  # another file may have come
        **told,
    )


def _quantized(folder: Path) -> Scheme | None:
    """The quantization of the safetensors in `folder`, if its method is known; None for every other folder."""
    if model_files(folder) or not safetensors_folder.is_model(folder):
        return None
    try:
        how = safetensors_folder.scheme(folder)
    except LqmfError:
        return None
    return how if how and how.method in methods.known() else None


# ---------------------------------------------------------------- reading


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield paths that may be artifacts: folders with a manifest, GGUF files, folders with a single GGUF file, and
    folders of quantized safetensors."""
    for entry in _visible(folder):
        if _has_manifest(entry):
            yield entry
        elif entry.is_dir():
            below = [sub for sub in _visible(entry) if sub.is_dir()]
            yield from _dropped(entry, alone=not any(_has_manifest(sub) or model_files(sub) for sub in below))
            for sub in below:
                yield from () if _has_manifest(sub) else _dropped(sub)
        elif entry in model_files(folder) and is_gguf(entry):
            yield entry


def _dropped(folder: Path, alone: bool = True) -> list[Path]:
    """The foreign models in `folder`: the folder itself for a single model, unless others lie below it (`alone` is
    False)."""
    if _quantized(folder):
        return [folder]
    files = model_files(folder)
    return [folder] if alone and len(files) == 1 else files


def _has_manifest(folder: Path) -> bool:
    return os.path.isfile(folder / MANIFEST)  # False, not an error, where a folder may not be looked into


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.glob("*") if not entry.name.startswith("."))


def _damaged(folder: Path) -> Artifact:
    """The artifact for a folder whose manifest cannot be read. It has no date, so that it is never the newest."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Artifact(folder.name, str(folder), "unknown", 0, "damaged", size, None, None, foreign=True)


def made(folder: Path) -> Artifact:
    """Return the artifact in a folder with a manifest. Raises NotFound, and UsageError when the manifest is not
    sound."""
    return dataclasses.replace(describe(folder, manifest(folder)), receipt=_receipt(receipt_path(folder)))


def manifest(folder: Path) -> Manifest:
    """Return the manifest in `folder`; its plan may lack fields, as older plans do. Raises NotFound, and UsageError
    when the manifest or its plan is not sound."""
    document = read_json(folder / MANIFEST)
    try:
        found = from_json(Manifest, document)
        plan_of(found)
    except InvalidRecord as error:
        remedy = f"`lqmf delete {folder.name}` removes it."
        raise UsageError(f"{folder / MANIFEST} is not a manifest: {error}.", remedy) from error
    return found


def plan_of(manifest: Manifest) -> QuantizationPlan:
    """Return the plan as executed; fields that older plans lack have bare values. Raises InvalidRecord."""
    return from_json(QuantizationPlan, {**_BARE_PLAN, **manifest.plan})


def manifests_in(folder: Path, unreadable: Callable[[Path], None] = lambda path: None) -> Iterator[OnDisk]:
    """Return (artifact, manifest) of every folder in `folder` with a sound manifest, oldest first; `unreadable` gets
    the path of each other manifest."""
    found: list[OnDisk] = []
    for path in sorted(folder.glob(f"[!.]*/{MANIFEST}")):
        try:
            found.append((made(path.parent), manifest(path.parent)))
        except (LqmfError, OSError):
            unreadable(path)
    return iter(sorted(found, key=lambda pair: pair[1].created_at))


def describe(folder: Path, manifest: Manifest) -> Artifact:
    """Return the artifact for `folder` with this manifest, without its receipt."""
    plan = manifest.plan
    size = sum(file.size_bytes for file in manifest.files if file.path.endswith(WEIGHTS))
    return Artifact(
        name=folder.name,
        path=str(folder),
        method=str(plan["method"]),
        bits=int(plan["bits"]),
        type=str(plan["type"]),
        size_bytes=size,
        source_size_bytes=manifest.source_size_bytes,
        compression_ratio=manifest.source_size_bytes / size if size else None,
        model=manifest.model.id,
        created_at=manifest.created_at,
    )


def _receipt(path: Path) -> Mapping[str, Any] | None:
    """Return the receipt at `path`, None where there is none; for a receipt that cannot be read, one with only the
    reason."""
    try:
        return readable(read_json(path))
    except NotFound:
        return None
    except (LqmfError, OSError) as error:
        return unreadable(str(error).rstrip("."))


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


# ---------------------------------------------------------------- names


def _at_path(path: Path, artifacts: Sequence[Artifact]) -> Artifact:
    known = next((a for a in artifacts if Path(a.path).exists() and path.samefile(a.path)), None)
    if known:
        return known
    return made(path) if (path / MANIFEST).is_file() else foreign(path)


def _tries(name: str, artifacts: Sequence[Artifact]) -> Iterator[list[Artifact]]:
    """Yield the artifacts that match `name`, from the strictest reading of it to the loosest."""
    lowered = name.lower()
    yield [a for a in artifacts if a.name == name]
    yield [a for a in artifacts if a.name.lower() == lowered]
    if lowered.endswith(".gguf"):
        yield [a for a in artifacts if a.foreign and lowered in _file_names(Path(a.path))]
    yield [a for a in artifacts if lowered and lowered in a.name.lower()]
    yield [a for a in artifacts if lowered and lowered == a.type.lower()]  # a usual type is in no name: nf4, int8


def _file_names(path: Path) -> list[str]:
    """The names, in small letters, of the models at `path`, a file or a folder."""
    return [file.name.lower() for file in (model_files(path) if path.is_dir() else [path])]


def _unknown(name: str, artifacts: Sequence[Artifact]) -> NotFound:
    names = [artifact.name for artifact in artifacts]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
    if near:
        return NotFound(f"There is no artifact '{name}'.", f"Did you mean {' or '.join(near)}?", nearest=near)
    remedy = "lqmf test list shows what there is." if names else "lqmf quantize demo makes a first one."
    return NotFound(f"There is no artifact '{name}'.", remedy, nearest=[])
