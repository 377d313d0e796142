"""A build that dies is replaced by one that runs; what was proven is built once, and never taken for another processor.

pip, its build and its installation are real, in an environment of their own; only the package is small, and whether it
"dies" is read from how it was built.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lqmf.ggml import instruction_sets, wheels
from lqmf.ggml.wheels import Build

ROOT = Path(__file__).parents[2]
VERSION = "9.9.9"
INFO = f"llama_cpp_python-{VERSION}.dist-info"
BACKEND = f"""
import os, pathlib, time, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    built = repr([os.environ[name] for name in ("CMAKE_ARGS", "CFLAGS")])
    with open(os.environ["COMPILED"], "a") as log:
        log.write(built + "\\n")
    print("[3/7] cc", flush=True)
    time.sleep(0.5)
    if "-DBROKEN" in built:
        raise SystemExit("ops.cpp:7: error: no such thing")
    name = "llama_cpp_python-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("llama_cpp/__init__.py", built)
        wheel.writestr("{INFO}/METADATA", "Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: {VERSION}\\n")
        wheel.writestr("{INFO}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("{INFO}/RECORD", "")
    return name
"""
FILES = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "PKG-INFO": f"Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: {VERSION}\n",
    "backend.py": BACKEND,
}
SET_UP = """
import re, sys, sysconfig
from pathlib import Path
from lqmf.errors import LqmfError
from lqmf.ggml import build, proof

def prove():
    built = Path(sysconfig.get_path("purelib"), "llama_cpp", "__init__.py").read_text()
    return proof.Proof("it died" if re.search(sys.argv[2], built) else "", computed=1)

proof.prove, build.SIGN_SECONDS = prove, 0.2
try:
    build.ensure(print, Path(sys.argv[1]))
except LqmfError as error:
    print("FAILED:", error.message, error.remedy)
"""
EVERYTHING, NATIVE = "", "^(?!.*GGML_NATIVE=OFF)"  # what "dies"


@dataclass(frozen=True)
class Ran:
    """What the set-up said, how the installed package was built, and how many builds there were until then."""

    said: str
    installed: str
    builds: int


@pytest.fixture
def set_up(tmp_path: Path) -> Callable[..., Ran]:
    """`set_up(dies)`: the set-up as in a fresh clone, with pip in an environment of its own, and a cache of its own."""
    venv.create(tmp_path / "venv", with_pip=True)
    (tmp_path / "pins").write_text(f"llama_cpp_python=={VERSION}\n")
    with tarfile.open(tmp_path / f"llama_cpp_python-{VERSION}.tar.gz", "w:gz") as tar:
        for name, text in FILES.items():
            member = tarfile.TarInfo(f"llama_cpp_python-{VERSION}/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "CMAKE_"))}
    environment |= {"PYTHONPATH": str(ROOT), "LQMF_CACHE_DIR": str(tmp_path), "COMPILED": str(tmp_path / "compiled")}
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    command = [str(tmp_path / "venv" / "bin" / "python"), "-c", SET_UP, str(tmp_path / "pins")]

    def run(dies: str, **variables: str) -> Ran:
        for old in (tmp_path / "venv").glob("lib/*/site-packages/llama_cpp*"):
            shutil.rmtree(old)
        told = subprocess.run(
            [*command, dies], env=environment | variables, capture_output=True, text=True, cwd=tmp_path
        )
        assert told.stderr == ""
        installed = next((tmp_path / "venv").glob("lib/*/site-packages/llama_cpp/__init__.py"), None)
        builds = len((tmp_path / "compiled").read_text().splitlines())
        return Ran(told.stdout, installed.read_text() if installed else "", builds)

    return run


@pytest.mark.slow
def test_what_dies_is_replaced_what_runs_is_built_once_and_what_is_foreign_is_noticed(
    set_up: Callable[..., Ran], tmp_path: Path
) -> None:
    first = set_up(NATIVE)  # where the native build dies, the baseline takes its place
    assert "compiling: step 3 of 7" in first.said
    assert "built native, does not run on this processor: it died." in first.said
    assert first.builds == 2
    compiled = (tmp_path / "compiled").read_text().splitlines()
    if "AMX_TILE" in instruction_sets.native():
        assert all(flag in compiled[0] for flag in instruction_sets.WITHOUT_AMX)
    for name in instruction_sets.INSTRUCTIONS if instruction_sets.is_x86() else ():
        on = "ON" if name in instruction_sets.that_run() else "OFF"
        assert f"-DGGML_{name}={on}" in first.installed

    again = set_up(NATIVE)  # another clone on this machine
    assert "was built for this processor before" in again.said
    assert (again.builds, again.installed) == (2, first.installed)

    (kept,) = (tmp_path / "llama.cpp").glob("*/*.whl")
    with zipfile.ZipFile(kept) as wheel:
        files = {name: wheel.read(name) for name in wheel.namelist()}
    with zipfile.ZipFile(kept, "w") as wheel:  # somebody else's build, in the place of ours
        for name, data in files.items():
            wheel.writestr(name, data + b"  # FOREIGN" if name == "llama_cpp/__init__.py" else data)
    healed = set_up(f"{NATIVE}|FOREIGN")
    assert "It does not run here: it died. It is built anew." in healed.said
    assert (healed.builds, healed.installed) == (3, first.installed)

    broken = set_up(NATIVE, CMAKE_ARGS="-DBROKEN")  # other options are another build; this one does not compile
    assert "FAILED: llama.cpp could not be compiled: ops.cpp:7: error: no such thing" in broken.said
    assert any(str(log) in broken.said for log in (tmp_path / "llama.cpp").glob("*/build.log"))

    nowhere = set_up(EVERYTHING)
    assert "FAILED: llama.cpp was built in two ways, and neither runs on this processor" in nowhere.said
    assert "native: it died; baseline: it died" in nowhere.said
    assert "CC=clang" in nowhere.said
    assert list((tmp_path / "llama.cpp").glob("*/*.whl")) == []


def test_a_build_is_kept_by_all_that_it_was_made_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LQMF_CACHE_DIR", str(tmp_path))
    own = Build("native", "-DA=ON", "-O2", "-O2")
    here = wheels.kept("0.3.36", own)
    assert here == wheels.kept("0.3.36", own)
    others = [wheels.kept("0.3.37", own), wheels.kept("0.3.36", Build("native", "-DA=OFF", "-O2", "-O2"))]
    for name, value in (("native", ("AVX2",)), ("compiler_version", "cc 14.1")):
        with monkeypatch.context() as patch:
            patch.setattr(instruction_sets, name, lambda value=value: value)
            others.append(wheels.kept("0.3.36", own))
    assert len({kept.folder for kept in (here, *others)}) == 5


def test_a_build_that_failed_is_remembered_with_its_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LQMF_CACHE_DIR", str(tmp_path))
    place = wheels.kept("0.3.36", Build("native", "", "", ""))
    place.folder.mkdir(parents=True)
    fresh = tmp_path / "llama_cpp_python-0.3.36-py3-none-any.whl"
    fresh.touch()
    assert place.keep(fresh) == place.wheel()
    assert json.loads((place.folder / wheels.BUILD).read_text())["version"] == "0.3.36"
    place.drop("it died")
    assert place.wheel() is None
    assert place.refused() == "it died"
