"""Measures the joules that the machine takes while code runs: the processor's by RAPL, the NVIDIA GPUs' by NVML.

These counters are the whole machine's, not one process's, and on most systems only root can read RAPL. Knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lqmf.hardware import with_nvml

POWERCAP = Path("/sys/class/powercap")  # Linux: Documentation/power/powercap/powercap.rst
CPU_REASON = "this machine shows no energy counter of its processor (RAPL) that this user may read"
GPU_REASON = "no NVIDIA GPU that counts its energy"


class EnergyMeter:
    """A context manager (`with EnergyMeter() as meter: ...`) with its reading `joules`: {"cpu", "gpu"}, each None
    without a counter."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        zones = (p for p in powercap.glob("*-rapl:*") if p.name.count(":") == 1)  # not their parts
        self._packages = sorted(p for p in zones if _called(p) != "psys")  # the whole board, with the package in it
        self._gpus = with_nvml(_Gpus)
        self.joules: Mapping[str, float | None] = {"cpu": None, "gpu": None}

    def __enter__(self) -> EnergyMeter:
        self._before = self._read()
        return self

    def __exit__(self, *exc: object) -> None:
        after = self._read()
        cpu = [_risen(before, now, _number(p / "max_energy_range_uj")) for p, before, now in self._pairs(after)]
        gpu = None if self._before[1] is None or after[1] is None else (after[1] - self._before[1]) / 1e3
        self.joules = {"cpu": sum(cpu) / 1e6 if cpu else None, "gpu": gpu}
        if self._gpus:
            self._gpus.close()

    def _pairs(self, after: tuple[list[int | None], int | None]) -> list[tuple[Path, int, int]]:
        rows = zip(self._packages, self._before[0], after[0], strict=True)
        return [(package, before, now) for package, before, now in rows if before is not None and now is not None]

    def _read(self) -> tuple[list[int | None], int | None]:
        """Microjoules of each processor package, millijoules of all GPUs."""
        packages = [_number(package / "energy_uj") for package in self._packages]
        return packages, self._gpus.millijoules() if self._gpus else None

    def reasons(self) -> dict[str, str]:
        """Return why a figure of `joules` is None, by its name."""
        why = {"cpu": CPU_REASON, "gpu": GPU_REASON}
        return {name: why[name] for name, value in self.joules.items() if value is None}


def _called(zone: Path) -> str:
    try:
        return (zone / "name").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _risen(before: int, now: int, span: int | None) -> int:
    """The increase of a counter that starts again from 0 at `span`."""
    return now - before if now >= before else now - before + (span or 0)


class _Gpus:
    """The NVIDIA GPUs that this process may use, by NVML."""

    def __init__(self, library: Any) -> None:
        self._library = library
        count = library.nvmlDeviceGetCount()
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        chosen = [int(each) for each in seen.split(",") if each.strip().isdigit()] or list(range(count))
        self._devices = [library.nvmlDeviceGetHandleByIndex(i) for i in chosen if i < count]

    def millijoules(self) -> int | None:
        """The energy of all GPUs since the driver was loaded; None where a GPU does not count it (before Volta)."""
        try:
            found = [self._library.nvmlDeviceGetTotalEnergyConsumption(device) for device in self._devices]
        except self._library.NVMLError:
            return None
        return sum(found) if found else None

    def close(self) -> None:
        self._library.nvmlShutdown()
