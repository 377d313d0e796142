"""doctor: is everything here that LQMF needs? One function a check; each says what it found and what to do about it.

Imports no torch and no llama_cpp into this process: versions come from the installed packages' metadata, and whether
the native library runs on this processor is found out by a child process. Draws nothing.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lqmf.errors import LqmfError, of_system
from lqmf.jobs.journal import new_id
from lqmf.operations.disk import existing
from lqmf.operations.result import Result
from lqmf.records import Request, Task, from_json, to_json
from lqmf.units import file_size, memory_size

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.fit.calibration import Calibration
    from lqmf.understanding.answers import Ask

State = Literal["ok", "note", "warning", "missing"]
PACKAGES = ("torch", "transformers", "huggingface_hub", "safetensors")
LITTLE_DISK_BYTES = 10 * 10**9


@dataclass(frozen=True)
class Check:
    """One finding. "missing" is needed and not there; "warning" works, but not well; "note" is only said."""

    name: str
    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Examined(Result):
    """Every finding, in the order in which they are shown; `calibration` is how fast this machine was found to be."""

    checks: tuple[Check, ...]
    calibration: Calibration | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing needed is missing."""
        return all(check.state != "missing" for check in self.checks)

    @property
    def document(self) -> dict[str, Any]:
        """`{"healthy", "checks": [{"name", "state", "detail", "remedy"}]}`, and "calibration" where it was measured."""
        told = {"healthy": self.ok, "checks": to_json(self.checks)}
        return {**told, "calibration": to_json(self.calibration)} if self.calibration else told


async def run(app: App, request: Request, ask: Ask) -> Examined:
    """Examine everything, after calibrating and fixing where that is asked for. Raises LqmfError."""
    measured = await calibrate(app) if request.calibrate else None
    if request.fix:
        await asyncio.to_thread(fix, app)
    checks = await asyncio.to_thread(examine, app, online=bool(request.online))
    return Examined(tuple(checks), measured)


def examine(app: App, *, online: bool = False) -> list[Check]:
    """Every check, in the order in which they are shown. Asks the network only where `online`."""
    found = [*_machine(app), *_versions(), _llama_cpp(), _calibration(), _toolchain(app), *_workspace(app)]
    return [*found, _hugging_face(online), _helper(app)]


def fix(app: App) -> None:
    """Build llama.cpp anew where it is absent or does not run; fetch its converter where that is absent. Raises
    LqmfError."""
    from lqmf.events import Notice
    from lqmf.ggml import build
    from lqmf.quantization.gguf.converter import toolchain

    build.ensure(lambda text: app.bus.publish(Notice(text=text)))
    toolchain.ensure()


async def calibrate(app: App) -> Calibration:
    """Measure this machine in a worker, and keep what was found. Raises LqmfError."""
    from lqmf.fit import calibration

    job = new_id()
    result = await app.runner.run(Task(job, "calibrate", {}, app.executor.log(job)), app.bus.publish)
    measured = from_json(calibration.Calibration, result["calibration"])
    try:
        calibration.save(measured)
    except OSError as error:
        raise of_system(error, "LQMF_CACHE_DIR names another folder for what LQMF keeps.") from error
    return measured


# ---------------------------------------------------------------- machine and versions


def _machine(app: App) -> Iterator[Check]:
    hardware = app.hardware()
    yield Check("LQMF", "ok", f"{_version('lqmf')}, Python {platform.python_version()}, {hardware.platform}")
    yield Check("processor", "ok", f"{hardware.cpu}, {hardware.cores} cores")
    memory = f"{memory_size(hardware.ram_available_bytes)} of {memory_size(hardware.ram_total_bytes)} free"
    yield Check("memory", "ok", memory)
    if not hardware.gpus:
        yield Check("GPU", "note", "none that NVIDIA's driver knows: everything runs on the CPU")
    for gpu in hardware.gpus:
        free = f"{memory_size(gpu.memory_free_bytes)} of {memory_size(gpu.memory_total_bytes)} free"
        yield Check("GPU", "ok", f"{gpu.name}, {free}")
    if hardware.gpus and (version := _version("torch")) and version.endswith("+cpu"):
        yield Check(
            "torch", "warning", f"{version} is the build for the CPU", "README.md, GPU: how to install the other."
        )


def _version(package: str) -> str | None:
    if package == "lqmf":
        from lqmf.version import VERSION

        return VERSION
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions() -> Iterator[Check]:
    versions = {package: _version(package) for package in PACKAGES}
    lacking = [package for package, version in versions.items() if version is None]
    there = ", ".join(f"{package} {version}" for package, version in versions.items() if version)
    if there:
        yield Check("libraries", "ok", there)
    for package in lacking:
        yield Check(package, "missing", "is not installed", f"{sys.executable} -m pip install {package}")


def _llama_cpp() -> Check:
    from lqmf.ggml import library, proof, wheels

    version = library.installed_version()
    if version is None:
        return Check(library.PACKAGE, "missing", "is not installed", library.REMEDY)
    found = proof.prove()
    if found.fault:
        return Check(library.PACKAGE, "missing", f"{version} does not run here: {found.fault}", library.REMEDY)
    how = "with GPU support" if found.gpu else "for the CPU"
    way = {"native": ", for this very processor", "baseline": ", with the instruction sets that run here"}
    told = way.get(str(wheels.installed_build().get("name")), "")
    return Check(library.PACKAGE, "ok", f"{version}, built {how}{told}; {found.computed} results are right")


def _calibration() -> Check:
    from lqmf.fit import calibration

    known = calibration.load()
    if known is None:
        return Check("calibration", "note", "how fast models run here is not known", "`lqmf doctor --calibrate`")
    gpu = ", its GPU too" if known.gpu else ""
    return Check("calibration", "ok", f"{known.machine}{gpu}: reads {known.memory_bytes_per_second / 1e9:.0f} GB/s")


# ---------------------------------------------------------------- toolchain and workspace


def _toolchain(app: App) -> Check:
    from lqmf.quantization.gguf.converter import toolchain

    try:
        found = toolchain.find()
    except LqmfError as error:
        return Check("converter", "missing", error.message, error.remedy)
    if found is None:
        return Check(
            "converter",
            "missing",
            "llama.cpp's converter was not fetched yet",
            "`lqmf doctor --fix`, once, while online.",
        )
    where = f"llama.cpp's, {found.version}, from the {found.origin}: {found.root}"
    return Check("converter", "warning" if found.warning else "ok", found.warning or where)


def _workspace(app: App) -> Iterator[Check]:
    yield _told("settings", lambda: _settings(app))
    yield _told("workspace", lambda: _writable(app))
    yield _told("records", lambda: _store(app))
    free = shutil.disk_usage(existing(app.root)).free
    little = free < LITTLE_DISK_BYTES
    remedy = "`lqmf disk` shows what can go." if little else ""
    yield Check("disk", "warning" if little else "ok", f"{file_size(free)} free", remedy)


def _told(name: str, check: Callable[[], str], state: State = "ok") -> Check:
    """`check`'s words, or its error as a finding."""
    try:
        return Check(name, state, check())
    except LqmfError as error:
        return Check(name, "missing", error.message, error.remedy)
    except OSError as error:
        return Check(name, "missing", f"{error}", "Take another folder: --workspace DIR, or LQMF_HOME.")


def _settings(app: App) -> str:
    changed = [key for key, origin in app.settings.origins.items() if origin != "default"]
    return f"sound; set: {', '.join(sorted(changed))}" if changed else "sound, all at their defaults"


def _writable(app: App) -> str:
    app.root.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=app.root):
        return f"{app.root} (from {app.root_reason}), writable"


def _store(app: App) -> str:
    count = len(app.memory.artifact_names())
    return f"{app.settings.values.storage_backend}, {count} artifact{'' if count == 1 else 's'}"


# ---------------------------------------------------------------- the world outside


def _hugging_face(online: bool) -> Check:
    from lqmf.hub import auth

    token, origin = auth.token()
    if token is None:
        return Check(
            "Hugging Face", "note", "no token; open models need none", "`lqmf hf login` for gated or private ones."
        )
    if not online:
        return Check("Hugging Face", "ok", f"a token from {origin}; --online asks whose it is")
    try:
        account = auth.status()
    except LqmfError as error:
        return Check("Hugging Face", "warning", error.message, error.remedy)
    return Check("Hugging Face", "ok", f"{account['user']}, by a token from {origin}")


def _helper(app: App) -> Check:
    def told() -> str:
        provider = app.settings.values.llm_provider
        if provider == "none":
            return "no language model helps with plans; none is needed"
        return f"{provider} may advise on plans; `llm status` says how it is"

    return _told("helper", told, "note")
