"""The hardware of this machine: processor, memory, GPUs. Reads the system; decides nothing."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from lqmf import forks
from lqmf.records import Gpu, Hardware

T = TypeVar("T")

LOOK_SECONDS = 0.02  # between two looks at what runs


def detect() -> Hardware:
    """Return the hardware of this machine. Free memory is read anew at each call, and what LQMF's own idle servers hold
    counts as free; no GPU library is needed for an empty list of GPUs."""
    memory = psutil.virtual_memory()
    return Hardware(
        cpu=cpu_name(),
        cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        ram_total_bytes=memory.total,
        ram_available_bytes=memory.available + forks.idle_bytes(),
        gpus=gpus(),
        platform=f"{platform.system()} {platform.machine()}",
    )


def described() -> dict[str, Any]:
    """Return this machine as a manifest records it: {"cpu", "cores", "ram_bytes", "gpus", "platform"}, without figures
    that change by the minute and without the name of the host."""
    here = detect()
    return {
        "cpu": here.cpu,
        "cores": here.cores,
        "ram_bytes": here.ram_total_bytes,
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.memory_total_bytes} for gpu in here.gpus],
        "platform": here.platform,
    }


def load(seconds: float = 0.25) -> float:
    """Return how many programs want a processor, for each processor that there is, over the next `seconds`; this thread
    does not count. 0.0 is an idle machine, 1.0 one that gives a newcomer half of its time."""
    end = time.monotonic() + seconds
    waiting: list[float] = []
    while not waiting or time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
        waiting.append(_runnable())
    return round(sum(waiting) / len(waiting) / (psutil.cpu_count() or 1), 2)


def _runnable() -> float:
    """Return the number of other threads that run or want to run now; where the system does not tell, the processors
    that were busy of late."""
    try:
        return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0]) - 1
    except (OSError, ValueError, IndexError):
        return float(psutil.cpu_percent()) / 100 * (psutil.cpu_count() or 1)


def cpu_name() -> str:
    """Return the processor's name from /proc/cpuinfo, else from the platform."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs as NVML reports them; empty where there is no driver."""
    library = open_nvml()
    if library is None:
        return ()
    try:
        return tuple(_gpu(library, index) for index in range(library.nvmlDeviceGetCount()))
    finally:
        library.nvmlShutdown()


def open_nvml() -> Any | None:
    """Return NVIDIA's management library, initialized; the caller calls nvmlShutdown in the end. None where there is no
    driver, or where the library's package is missing."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def with_nvml(kind: Callable[[Any], T]) -> T | None:
    """Return `kind` of NVIDIA's management library, which it shuts down in the end; None where there is no driver, or
    where the driver refuses."""
    if (library := open_nvml()) is None:
        return None
    try:
        return kind(library)
    except library.NVMLError:
        library.nvmlShutdown()
        return None


def _gpu(nvml: object, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)  # type: ignore[attr-defined]
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)  # type: ignore[attr-defined]
    name = nvml.nvmlDeviceGetName(handle)  # type: ignore[attr-defined]
    return Gpu(name if isinstance(name, str) else name.decode(), int(memory.total), int(memory.free))
