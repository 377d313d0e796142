"""Builds llama.cpp for this very processor, and proves the build before it is used. `python -m lqmf.ggml.build` is a
step of `make setup`; `lqmf doctor --fix` calls the same code.

The first build is native, but without AMX: GCC 12 compiles ggml's AMX kernels to code that dies of SIGILL (it drops the
stores into the tile configuration), on Intel processors from Sapphire Rapids on. If that build still dies or computes
wrong results, the second build is for the baseline of the processor's family, with only those instruction sets that
were found to run. A build that was proven is kept for this processor and compiler (`wheels`), a build that failed is
remembered, so that a machine compiles once. docs/measured/builds.md has the figures, and why ggml's own way
(GGML_BACKEND_DL with GGML_CPU_ALL_VARIANTS, which chooses among variants when it is loaded) was not taken.

Needs the standard library alone: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lqmf import workspace
from lqmf.errors import LqmfError, ToolchainError, of_system
from lqmf.ggml import instruction_sets, library, proof, wheels
from lqmf.ggml.library import PACKAGE
from lqmf.ggml.proof import Proof
from lqmf.ggml.wheels import Build, Kept

Say = Callable[[str], None]

CMAKE_ARGS = "-DLLAVA_BUILD=OFF"  # the multimodal part is not used
SIGN_SECONDS = 15  # between signs of life while it compiles
_NOT_NATIVE = "-DGGML_NATIVE=OFF"
_STEP = re.compile(r"^\s*\[(\d+)/(\d+)\] ", re.MULTILINE)  # of ninja
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")


def ensure(say: Say, constraints: Path | None = None) -> Proof:
    """Return the proof of the installed llama.cpp. Build it first if it is missing, of another version, fails, or was
    not built as the environment's CMAKE_ARGS ask. `constraints` is pip's file of versions. Raises ToolchainError,
    DiskFull, LqmfError."""
    version = wanted_version(constraints)
    if library.installed_version() == version and _as_asked():
        found = _proof()
        if not found.fault:
            return found
        say(f"The installed llama.cpp does not run here: {found.fault}.")
    try:
        wheels.root().mkdir(parents=True, exist_ok=True)
        with workspace.exclusive(wheels.root() / "building.lock"):
            return _first_that_runs(version, constraints, say)
    except OSError as error:
        raise of_system(error, f"{workspace.CACHE_VARIABLE} names another folder for what LQMF keeps.") from error


def wanted_version(constraints: Path | None = None) -> str:
    """Return the version to build: the version in `constraints`, else the installed version, else the lowest version
    that LQMF declares."""
    text = constraints.read_text(encoding="utf-8") if constraints else ""
    if pinned := re.search(r"^llama[-_]cpp[-_]python==(\S+)", text, re.MULTILINE):
        return pinned[1]
    declared = next(line for line in importlib.metadata.requires("lqmf") or () if line.startswith(PACKAGE))
    return library.installed_version() or re.findall(r">=([\w.]+)", declared)[0]


def _as_asked() -> bool:
    """Return whether the installed build has the CMAKE_ARGS of the environment; True if the environment has none."""
    asked = os.environ.get("CMAKE_ARGS")
    return asked is None or asked == _options(wheels.installed_build())


def _options(build: Mapping[str, str]) -> str | None:
    """Return a build's CMAKE_ARGS without its choice of instruction sets; None for a build that is not LQMF's."""
    return build["cmake_args"].partition(_NOT_NATIVE)[0].strip() if build else None


def _first_that_runs(version: str, constraints: Path | None, say: Say) -> Proof:
    """Install the first of the two builds that runs, and return its proof. Raises ToolchainError, OSError."""
    faults = []
    for way in (native, baseline):
        place = wheels.kept(version, way())
        found = Proof(place.refused()) if place.refused() else _proven(place, constraints, say)
        if not found.fault:
            return found
        say(f"llama.cpp, built {way.__name__}, does not run on this processor: {found.fault}.")
        faults.append(f"{way.__name__}: {found.fault}")
    raise ToolchainError(
        f"llama.cpp was built in two ways, and neither runs on this processor ({'; '.join(faults)}).",
        f"Try another compiler: CC=clang CXX=clang++ lqmf doctor --fix. What was tried is in {wheels.root()}.",
    )


# ---------------------------------------------------------------- the two ways to build


def native() -> Build:
    """Return the build for all that this processor has, except AMX."""
    flags = instruction_sets.known_flags(instruction_sets.WITHOUT_AMX) if instruction_sets.is_x86() else ()
    return Build("native", _cmake_args(), _with("CFLAGS", flags), _with("CXXFLAGS", flags))


def baseline() -> Build:
    """Return the build for what every processor of the family has, and the instruction sets that ran here just now."""
    run = instruction_sets.that_run()
    every = instruction_sets.INSTRUCTIONS if instruction_sets.is_x86() else ()
    sets = [f"-DGGML_{name}={'ON' if name in run else 'OFF'}" for name in every]
    return Build("baseline", " ".join([_cmake_args(), _NOT_NATIVE, *sets]), _with("CFLAGS"), _with("CXXFLAGS"))


def _cmake_args() -> str:
    """Return CMAKE_ARGS of the environment, else those of the installed build, else the default."""
    return os.environ.get("CMAKE_ARGS") or _options(wheels.installed_build()) or CMAKE_ARGS


def _with(variable: str, flags: Sequence[str] = ()) -> str:
    return " ".join(filter(None, [os.environ.get(variable), *flags]))


# ---------------------------------------------------------------- build, install, prove


def _proven(place: Kept, constraints: Path | None, say: Say) -> Proof:
    """Install the build in `place` and return its proof: the build kept there, or a fresh build if the kept one does
    not run. Raises ToolchainError, OSError."""
    if wheel := place.wheel():
        say(f"Installing the llama.cpp that was built for this processor before ({place.folder}).")
        found = _tried(wheel, constraints)
        if not found.fault:
            return found
        say(f"It does not run here: {found.fault}. It is built anew.")
        place.drop()
    found = _tried(_compiled(place, say), constraints)
    if found.fault:
        place.drop(found.fault)
    return found


def _tried(wheel: Path, constraints: Path | None) -> Proof:
    """Install a build with the packages that importing it needs, and return its proof. Raises ToolchainError."""
    install, pinned = [*_PIP, "install", "--quiet"], ["-c", str(constraints)] if constraints else []
    for words in (
        ["--no-deps", "--no-index", "--force-reinstall", str(wheel)],
        [*pinned, f"{PACKAGE}=={wheel.name.split('-')[1]}"],
    ):
        done = subprocess.run([*install, *words], capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            raise ToolchainError(
                f"llama.cpp could not be installed: {_complaint(done.stderr)}", "Try again while online: make setup"
            )
    return _proof()


def _proof() -> Proof:
    """Return the proof of the installed llama.cpp. Raises ToolchainError if the build is not to blame for the fault."""
    found = proof.prove()
    if found.fault and not found.lasting:
        raise ToolchainError(f"llama.cpp could not be tried: {found.fault}.", "`lqmf doctor --fix` tries again.")
    return found


def _compiled(place: Kept, say: Say) -> Path:
    """Compile the wheel, keep it in `place` and return its path. Raises ToolchainError, OSError."""
    place.folder.mkdir(parents=True, exist_ok=True)
    made_for = place.made_for
    say(f"Compiling llama.cpp {place.version} ({made_for['name']}): 5 to 8 minutes on 2 cores, once on a machine.")
    settings = {variable: str(made_for[variable.lower()]) for variable in ("CMAKE_ARGS", "CFLAGS", "CXXFLAGS")}
    with tempfile.TemporaryDirectory(dir=place.folder, prefix=".building-") as folder:
        command = [*_PIP, "wheel", "--verbose", "--no-deps", "--no-cache-dir", "--no-binary", PACKAGE]
        command += ["--wheel-dir", folder, f"{PACKAGE}=={place.version}"]
        code = follow(command, settings, place.log, say)
        wheel = next(iter(Path(folder).glob("*.whl")), None)
        if code == 0 and wheel is not None:
            return place.keep(wheel)
    raise ToolchainError(
        f"llama.cpp could not be compiled: {_complaint(place.log.read_text(encoding='utf-8', errors='replace'))}",
        f"Everything that pip and the compiler said is in {place.log}.",
    )


def follow(command: Sequence[str], settings: Mapping[str, str], log: Path, say: Say) -> int:
    """Run `command` with its output in `log`, and return its exit code. Every SIGN_SECONDS, say how long it has been
    running and at which step ninja is."""
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | settings)
    try:
        while True:
            try:
                return process.wait(SIGN_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"  {_stage(log)}, {time.monotonic() - started:.0f} s")
    finally:
        process.kill()
        process.wait()


def _stage(log: Path) -> str:
    """How far the build is, by its log."""
    steps = _STEP.findall(log.read_text(encoding="utf-8", errors="replace"))
    return "compiling: step {} of {}".format(*steps[-1]) if steps else "fetching the source and the build tools"


def _complaint(text: str) -> str:
    """The first error of pip's or of the compiler's."""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)), "pip gave no reason.")


def main() -> int:
    """Build llama.cpp if needed, prove it and print the result; return the exit code."""
    parser = argparse.ArgumentParser(description="Build llama.cpp for this processor, and prove it.")
    parser.add_argument("-c", "--constraints", type=Path, help="pip's file of versions")
    constraints = parser.parse_args().constraints

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    try:
        found = ensure(say, constraints)
    except LqmfError as error:
        sys.stderr.write(f"{error.message}\n{error.remedy}\n")
        return 1
    say(f"llama.cpp {library.installed_version()} runs on this processor: {found.computed} results are right.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
