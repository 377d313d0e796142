"""The place of llama.cpp's official converter: a checkout named by a setting, else the cache, into which it is fetched
once.

The converter comes from the source archive of the installed llama-cpp-python, so that it is in step with the libllama
built from the same archive; the cache folder bears that version. Knows nothing about models or jobs. `python -m
lqmf.quantization.gguf.converter.toolchain` fetches it ahead of time.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from lqmf import workspace
from lqmf.errors import FULL, DiskFull, LqmfError, ToolchainError
from lqmf.ggml.library import PACKAGE, REMEDY, installed_version

CHECKOUT_VARIABLE = "LQMF_LLAMA_CPP_DIR"

_parsing = threading.Lock()  # CPython 3.11 miscounts the depth of trees that two threads build at once: SystemError
_PREFIX = "vendor/llama.cpp/"
_NEEDED = re.compile(r"(LICENSE|convert_(hf|lora)_to_gguf\.py|conversion/.+\.py|gguf-py/(LICENSE|gguf/.+))")
_LANDMARKS = ("convert_hf_to_gguf.py", "conversion/__init__.py", "conversion/base.py", "gguf-py/gguf/__init__.py")
_REMEDY = "Run `lqmf doctor --fix` (or `make setup`) while online; it is kept for offline use afterwards."


@dataclass(frozen=True)
class Toolchain:
    """A usable converter. `origin` is "cache" or "checkout"; `version` is llama-cpp-python's, or "checkout"."""

    root: Path
    version: str
    origin: str
    warning: str = ""

    @property
    def converter(self) -> Path:
        return self.root / "convert_hf_to_gguf.py"

    @property
    def gguf_py(self) -> Path:
        """Return the folder to put on `sys.path` for the `gguf` package that is in step with this converter."""
        return self.root / "gguf-py"

    def architectures(self) -> dict[str, str]:
        """Return every text architecture that the converter knows, with the module of `conversion/` that handles it.

        Reads the source without importing it (milliseconds; the converter itself imports torch). Raises ToolchainError
        if the source lists no architectures.
        """
        with _parsing:
            tree = ast.parse((self.root / "conversion" / "__init__.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "TEXT_MODEL_MAP" and node.value:
                return dict(ast.literal_eval(node.value))
        raise ToolchainError(f"The converter in {self.root} does not list its architectures.", _REMEDY)

    def pretokenizers(self) -> tuple[str, ...]:
        """Return the names of the BPE pre-tokenizers that the converter can write, in its own order."""
        text = (self.root / "conversion" / "base.py").read_text(encoding="utf-8")
        return tuple(dict.fromkeys(re.findall(r'^\s+res = "([^"]+)"', text, re.MULTILINE)))


def find() -> Toolchain | None:
    """Return the converter that is on this machine already, or None. Never touches the network.

    Raises ToolchainError when LQMF_LLAMA_CPP_DIR is not a usable llama.cpp checkout, and when llama-cpp-python is not
    installed.
    """
    if checkout := os.environ.get(CHECKOUT_VARIABLE):
        return _checkout(Path(checkout).expanduser())
    version = _required_version()
    root = _home(version)
    return Toolchain(root, version, "cache") if _complete(root) else None


def ensure() -> Toolchain:
    """Return the converter that `find` finds, or else fetch it once, into the cache.

    Raises ToolchainError when it is absent and cannot be fetched, and as `find` does; DiskFull.
    """
    found = find()
    return found if found is not None else _fetch(_required_version())


def _required_version() -> str:
    version = installed_version()
    if version is None:
        raise ToolchainError(f"GGUF files need {PACKAGE}, which is not installed.", REMEDY)
    return version


def _checkout(root: Path) -> Toolchain:
    missing = [mark for mark in _LANDMARKS if not (root / mark).is_file()]
    if missing:
        raise ToolchainError(
            f"{root} is not a usable llama.cpp checkout: {missing[0]} is missing.",
            f"Point {CHECKOUT_VARIABLE} at the root of a current llama.cpp checkout, or unset it.",
        )
    warning = (
        f"The converter comes from {root}; nothing says that it is in step with the installed "
        f"{PACKAGE} {installed_version() or '(absent)'}."
    )
    return Toolchain(root, "checkout", "checkout", warning)


def _home(version: str) -> Path:
    return workspace.cache_dir() / "toolchain" / f"{PACKAGE}-{version}"


def _complete(root: Path) -> bool:
    return all((root / mark).is_file() for mark in _LANDMARKS)


def _fetch(version: str) -> Toolchain:
    """Download, extract beside the final place and rename, so that a reader sees the whole converter or none."""
    home = _home(version)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with workspace.exclusive(home.parent / f"{home.name}.lock"):
            if not _complete(home):
                _build(version, home)
    except OSError as error:
        raise _storage_error(error, home) from error
    return Toolchain(home, version, "cache")


def _build(version: str, home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".fetching-") as folder:
        fresh = Path(folder) / home.name
        _extract(_download(version, Path(folder)), fresh)
        if not _complete(fresh):
            raise ToolchainError(f"The source archive of {PACKAGE} {version} holds no converter.", _REMEDY)
        shutil.rmtree(home, ignore_errors=True)  # what an interrupted older attempt may have left
        fresh.rename(home)


def _download(version: str, folder: Path) -> Path:
    """Return the source archive, fetched through the user's own pip configuration (indexes, mirrors, local links)."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise ToolchainError(f"The llama.cpp converter for {PACKAGE} {version} is absent and LQMF is offline.", _REMEDY)
    if importlib.util.find_spec("pip") is None:
        raise ToolchainError(
            f"The llama.cpp converter is fetched with pip, which {sys.executable} does not have.",
            f"Run `{sys.executable} -m ensurepip`, or point {CHECKOUT_VARIABLE} at a llama.cpp checkout.",
        )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--no-binary", PACKAGE, "--dest", str(folder), f"{PACKAGE}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    archives = sorted(folder.glob("*.tar.gz"))
    if done.returncode != 0 or not archives:
        raise _download_error(version, done.stderr)
    return archives[0]


def _download_error(version: str, complaint: str) -> LqmfError:
    lines = [line.removeprefix("ERROR: ").strip() for line in complaint.splitlines() if line.startswith("ERROR")]
    reason = lines[0] if lines else "pip gave no reason"
    return ToolchainError(
        f"The llama.cpp converter for {PACKAGE} {version} is absent and could not be fetched: {reason}", _REMEDY
    )


def _extract(archive: Path, into: Path) -> None:
    """Extract only the converter's own files, each under `into`; links and special files are left out."""
    with tarfile.open(archive) as tar:
        for member in tar:
            inside = member.name.partition("/")[2]
            if not member.isfile() or not inside.startswith(_PREFIX):
                continue
            if _NEEDED.fullmatch(inside.removeprefix(_PREFIX)):
                member.name = inside.removeprefix(_PREFIX)
                tar.extract(member, into, filter="data")


def _storage_error(error: OSError, home: Path) -> LqmfError:
    if error.errno in FULL:
        return DiskFull(f"No room for the llama.cpp converter in {home.parent}.", "Free 100 MB and try again.")
    return ToolchainError(
        f"The llama.cpp converter cannot be kept in {home.parent}: {error.strerror or error}.",
        f"Make that folder writable, or set {workspace.CACHE_VARIABLE} to one that is.",
    )


def main() -> int:
    """Fetch the converter if it is absent, and write where it is. Return the exit code: 0 done, 1 failed."""
    try:
        toolchain = ensure()
    except LqmfError as error:
        sys.stderr.write(f"{error.message}\n{error.remedy}\n")
        return 1
    sys.stdout.write(f"llama.cpp converter ({toolchain.version}): {toolchain.root}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
