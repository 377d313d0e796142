"""The header-only GGUF of a model: its keys, its tokenizer and its tensors' shapes, made without reading a weight.

The official converter writes it (its own tensor mapping, from shapes alone), so libllama can be asked about the file
that a quantization would start from before any weight is here. Kept in LQMF's cache by content. Knows nothing of
types, contexts or memory.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lqmf import workspace
from lqmf.errors import LqmfError, ResourceError
from lqmf.ggml import library
from lqmf.model_files.gguf_header import GgufHeader, read_header
from lqmf.quantization.gguf.converter import convert
from lqmf.quantization.gguf.converter.toolchain import Toolchain
from lqmf.units import file_size

_FORMAT = 7  # of what is kept; a new one makes everything kept before it worthless
_LARGEST_HASHED = 64 << 20  # bytes; larger files beside the weights count by name and size


@dataclass(frozen=True)
class Kept:
    """The header of a model in the cache: the file ends where its tensors' data would begin."""

    path: Path
    notes: tuple[str, ...]

    @contextmanager
    def extended(self) -> Iterator[Path]:
        """Yield a copy of the file at its full apparent size, as libllama wants it, with holes for the weights; it is
        deleted afterwards. Takes as much disk as the header. Raises ResourceError where the disk takes no file of
        holes."""
        with tempfile.TemporaryDirectory(prefix="lqmf-header-") as folder:
            copy = Path(folder) / "header.gguf"
            shutil.copyfile(self.path, copy)
            header = read_header(copy)
            whole = file_bytes(header, (tensor.size_bytes for tensor in header.tensors))
            try:
                os.truncate(copy, whole)
            except OSError as error:
                raise ResourceError(
                    f"{folder} takes no file of {file_size(whole)}, not even one of holes: {error.strerror}.",
                    "Set TMPDIR to a folder on another disk (ext4, xfs, btrfs, APFS).",
                ) from error
            yield copy


def file_bytes(header: GgufHeader, sizes: Iterable[int]) -> int:
    """Return the size in bytes of a file with this `header` whose tensors have these `sizes`, each filled up to the
    alignment."""
    alignment = int(header.metadata.get("general.alignment", 32))
    return header.data_offset + sum(-(-size // alignment) * alignment for size in sizes)


def place(source: Path, name: str, tools: Toolchain) -> Path:
    """Return the cache folder for results that follow from the model in `source`, called `name`, alone: a hash of its
    configuration, tokenizer and shapes, and of the tools' versions, names it. Reads no weight."""
    seen = hashlib.sha256()
    made_by = (_FORMAT, name, tools.version, str(tools.root), library.installed_version())
    seen.update(repr(made_by).encode())
    for path in sorted(file for file in source.iterdir() if file.is_file()):
        seen.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        seen.update(_telling(path))
    return workspace.cache_dir() / "needs" / seen.hexdigest()[:32]


def make(source: Path, name: str, tools: Toolchain, folder: Path) -> Kept:
    """Return the header of the model in `source`, kept in `folder`; write it first if it is not there yet.

    Raises as `convert.write_header` does; never for the tokenizer, for which there is a note then.
    """
    path, told = folder / "header.gguf", folder / "header.json"
    if (kept := _recall(path, told)) is not None:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as scratch:
        fresh = Path(scratch) / path.name
        made = convert.write_header(source, fresh, tools, scratch=Path(scratch), name=name)
        os.replace(fresh, path)
    kept = Kept(path, made.notes)
    workspace.keep_json(told, {"notes": kept.notes})
    return kept


def _recall(path: Path, told: Path) -> Kept | None:
    """Return the header that was kept before; None if it is spoilt or absent."""
    try:
        read_header(path)
        return Kept(path, tuple(workspace.kept_json(told)["notes"]))
    except (LqmfError, OSError, ValueError, TypeError, KeyError):
        return None


def _telling(path: Path) -> bytes:
    """Return the bytes of a file that decide the header: of weights their own header, of other files all, of large
    files none."""
    if path.suffix == ".safetensors":
        with path.open("rb") as file:
            return file.read(min(_LARGEST_HASHED, int.from_bytes(file.read(8), "little")))
    return path.read_bytes() if path.stat().st_size <= _LARGEST_HASHED else b""
