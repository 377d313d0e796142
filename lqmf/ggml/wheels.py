"""Keeps builds of llama.cpp in a folder for each version, way of building, processor and compiler.

pip's own cache knows a package by its version alone, so a build for one processor comes back on another, where it dies.
Here the folder's name is a hash of the build's target, so a build for another machine is never taken; `build.json` in
the folder holds the target in words. Needs the standard library alone; compiles nothing.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lqmf import workspace
from lqmf.ggml import instruction_sets
from lqmf.ggml.library import PACKAGE

BUILD, REFUSED = "build.json", "refused.json"


@dataclass(frozen=True)
class Build:
    """A way of building. `name` is native (for this processor) or baseline (with the sets that were found to run); the
    other fields are for the environment of CMake."""

    name: str
    cmake_args: str
    cflags: str
    cxxflags: str


@dataclass(frozen=True)
class Kept:
    """The folder of one build on this machine; it need not exist yet."""

    folder: Path
    made_for: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.made_for["version"])

    @property
    def log(self) -> Path:
        """Return the path of the log, which holds all that pip and the compiler said."""
        return self.folder / "build.log"

    def wheel(self) -> Path | None:
        """Return the path of the build's wheel; None if there is none."""
        return next(iter(sorted(self.folder.glob("*.whl"))), None)

    def refused(self) -> str:
        """Return the fault that was found in this build before; empty if no fault was found."""
        return str(workspace.kept_json(self.folder / REFUSED).get("fault", ""))

    def keep(self, wheel: Path) -> Path:
        """Move a fresh wheel into the folder, write its target into build.json, and return its new path. Raises
        OSError."""
        target = self.folder / wheel.name
        wheel.replace(target)
        workspace.write_json(self.folder / BUILD, self.made_for)
        return target

    def drop(self, fault: str = "") -> None:
        """Remove the build; a `fault` is remembered, so that it is not built again. Raises OSError."""
        for wheel in self.folder.glob("*.whl"):
            wheel.unlink()
        if fault:
            workspace.write_json(self.folder / REFUSED, {"fault": fault})


def kept(version: str, build: Build) -> Kept:
    """Return the folder for this version and way of building on this machine. (A wheel's own name holds its Python
    tag.)"""
    made_for = {
        "version": version,
        **asdict(build),
        "instruction_sets": instruction_sets.native(),
        "compiler": instruction_sets.compiler_version(),
        "platform": sysconfig.get_platform(),
        "libc": " ".join(platform.libc_ver()),
    }
    key = hashlib.sha256(json.dumps(made_for, sort_keys=True).encode()).hexdigest()[:16]
    return Kept(root() / f"{version}-{key}", made_for)


def root() -> Path:
    """Return the folder that holds all builds."""
    return workspace.cache_dir() / "llama.cpp"


def installed_build() -> dict[str, Any]:
    """Return the build.json of the installed llama-cpp-python; empty if LQMF did not build it."""
    try:
        origin = importlib.metadata.distribution(PACKAGE).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return {}
    path = unquote(urlsplit(json.loads(origin).get("url", "")).path) if origin else ""
    return workspace.kept_json(Path(path).parent / BUILD) if path else {}
