"""Chooses where and in which precision transformers runs a model, and gives the reason. Pure: takes facts, returns a
choice. Knows no torch and no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lqmf.errors import DoesNotFit, GpuOutOfMemory, NotBuilt, UsageError
from lqmf.model_files.safetensors_folder import Stored
from lqmf.units import memory_size

_ROOM = 0.9  # of what is free: the rest is for activations and the key-value cache


@dataclass(frozen=True)
class Machine:
    """The free memory of this machine. `gpu_free_bytes` is None if PyTorch sees no GPU; `gpu_bf16` says whether the GPU
    computes in bfloat16."""

    ram_free_bytes: int
    gpu_free_bytes: int | None = None
    gpu_bf16: bool = False


@dataclass(frozen=True)
class Placement:
    """The device and dtype to run in, with the reason. `memory` holds the limits for accelerate, in bytes by device
    (None: all weights on the one device)."""

    device: Literal["cpu", "gpu"]
    dtype: str
    reason: str
    memory: Mapping[int | str, int] | None = None


def place(weights: Stored, machine: Machine, device: str, limit_bytes: int | None = None) -> Placement:
    """Return the placement of `weights`. `device` "auto" takes a GPU if there is one, `limit_bytes` is the most that
    the weights may take of the memory of the device they run on.

    Raises UsageError for a GPU that is not there, DoesNotFit or GpuOutOfMemory if the weights do not fit and cannot be
    moved elsewhere.
    """
    if device == "gpu" and machine.gpu_free_bytes is None:
        raise UsageError("PyTorch sees no GPU here.", "Use --device cpu, or install a PyTorch built for your GPU.")
    if device == "cpu" or machine.gpu_free_bytes is None:
        return _on_cpu(weights, machine, limit_bytes)
    return _on_gpu(weights, machine, machine.gpu_free_bytes, limit_bytes)


def _on_cpu(weights: Stored, machine: Machine, limit_bytes: int | None) -> Placement:
    room = min(limit_bytes or machine.ram_free_bytes, int(_ROOM * machine.ram_free_bytes))
    exact, stored = weights.loaded_bytes("float32"), weights.loaded_bytes(weights.dtype)
    if exact <= room:
        why = "on the CPU in float32: nothing is rounded on the way, and there is room"
        return Placement("cpu", "float32", why)
    if stored <= room:
        why = f"on the CPU in {weights.dtype}, as stored: float32 would take {_of(exact, room)}"
        return Placement("cpu", weights.dtype, why)
    if weights.stays_quantized:
        raise DoesNotFit(
            f"Its weights take {_of(stored, room)}, and quantized ones cannot be left on the disk.",
            "Close other programs, raise --memory, or quantize to gguf, which reads them from the disk.",
        )
    why = f"on the CPU in {weights.dtype}, partly read from the disk each time: its weights take {_of(stored, room)}"
    return Placement("cpu", weights.dtype, why, {"cpu": room})


def _on_gpu(weights: Stored, machine: Machine, free: int, limit_bytes: int | None) -> Placement:
    dtype, why = _gpu_dtype(weights, machine)
    room = min(limit_bytes or free, int(_ROOM * free))
    need = weights.loaded_bytes(dtype)
    if need <= room:
        return Placement("gpu", dtype, f"on the GPU in {dtype}: {why}")
    if weights.method == "bnb":
        raise GpuOutOfMemory(
            f"Its weights take {_of(need, room)} of the GPU, and bitsandbytes cannot run them in two places.",
            "Use --device cpu, or quantize to gguf, which can be split.",
        )
    why = f"on the GPU in {dtype}, what does not fit on the CPU: its weights take {_of(need, room)}"
    return Placement("gpu", dtype, why, {0: room, "cpu": int(_ROOM * machine.ram_free_bytes)})


def _gpu_dtype(weights: Stored, machine: Machine) -> tuple[str, str]:
    if weights.dtype == "float16":
        return "float16", "as stored"
    if machine.gpu_bf16:
        return "bfloat16", "as stored" if weights.dtype == "bfloat16" else "half of float32, with its range"
    return (
        "float16",
        f"this GPU does not compute in {weights.dtype}" if weights.dtype == "bfloat16" else "half the size",
    )


def _of(need: int, room: int) -> str:
    return f"{memory_size(need)} of the {memory_size(room)} that it may take"


def needs_accelerate(placement: Placement, weights: Stored) -> bool:
    """Return whether only accelerate can load `weights` to `placement`."""
    return bool(placement.memory or weights.method or placement.device == "gpu")


def missing(package: str, install: str) -> NotBuilt:
    """Return the error for a package that is not installed; it names the command that installs it."""
    return NotBuilt(f"Running this needs {package}, which is not installed.", f"Run `{install}`.")
