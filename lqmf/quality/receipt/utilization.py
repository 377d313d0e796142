"""Measures how busy the processor and the GPU are while code runs. Asks the operating system and NVML; knows no
model."""

from __future__ import annotations

import os
import threading
import time
from statistics import fmean
from typing import Any

from lqmf.hardware import with_nvml


class Watch:
    """A context manager (`with Watch() as watch: ...`) with its readings: this process's share of all CPU cores, and
    the share of the busiest GPU, in percent; this process's peak GPU memory in bytes. A GPU reading is None without an
    NVIDIA GPU, or where NVML does not give it."""

    def __init__(self, interval_seconds: float = 0.05) -> None:
        self._interval = interval_seconds
        self._stop = threading.Event()
        self._gpu_percent: list[float] = []
        self._gpu_bytes: list[int] = []
        self._nvml = with_nvml(_Nvml)
        self.cpu_percent: float | None = None

    def __enter__(self) -> Watch:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        if self._nvml:
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.cpu_percent = min(100.0, 100.0 * cpu / (wall * cores)) if wall > 0 else None
        self._stop.set()
        if self._nvml:
            self._thread.join()
            self._nvml.close()

    @property
    def gpu_percent(self) -> float | None:
        """Return the mean over the samples of the busiest GPU's utilization, in percent; None without samples."""
        return fmean(self._gpu_percent) if self._gpu_percent else None

    @property
    def gpu_peak_bytes(self) -> int | None:
        return max(self._gpu_bytes, default=None)

    def reasons(self) -> dict[str, str]:
        """Return why a reading of a GPU is None, by the receipt's name of it."""
        why = {
            "utilization.gpu": (self.gpu_percent, "no NVIDIA GPU that reports it"),
            "peak_memory_bytes.gpu": (self.gpu_peak_bytes, "nothing of this process was on a GPU that reports it"),
        }
        return {name: reason for name, (value, reason) in why.items() if value is None}

    def _sample(self) -> None:
        while self._nvml and not self._stop.wait(self._interval):
            percent, used = self._nvml.read(os.getpid())
            if percent is not None:
                self._gpu_percent.append(percent)
            if used is not None:
                self._gpu_bytes.append(used)


class _Nvml:
    """The NVIDIA management library, opened; every reading may be missing."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._devices = [library.nvmlDeviceGetHandleByIndex(i) for i in range(library.nvmlDeviceGetCount())]

    def read(self, pid: int) -> tuple[float | None, int | None]:
        """Return (percent of the busiest GPU, bytes that process `pid` holds over all GPUs)."""
        percents: list[float] = []
        used: list[int] = []
        for device in self._devices:
            try:
                percents.append(float(self._library.nvmlDeviceGetUtilizationRates(device).gpu))
                processes = self._library.nvmlDeviceGetComputeRunningProcesses(device)
                used += [p.usedGpuMemory for p in processes if p.pid == pid and p.usedGpuMemory is not None]
            except self._library.NVMLError:
                continue
        return max(percents, default=None), sum(used) if used else None

    def close(self) -> None:
        self._library.nvmlShutdown()
