"""Turns a request into the solver's input: how much of a machine's memory a plan may use, and what the user wishes.

Memory is the amount that the user said, otherwise the free memory, less reserves for other programs. Pure; knows
requests and hardware, no model.
"""

from __future__ import annotations

from lqmf.fit import cards
from lqmf.fit.solver import Machine, Wish
from lqmf.records import Gpu, Hardware, Request
from lqmf.units import GB, GIB, memory_size

RAM_SHARE = 0.7  # of the free memory: the rest is for everything else
# Both together are the 1 GiB that llama.cpp leaves free on a card (its --fit-target).
GPU_RESERVE_BYTES = 512 << 20  # the desktop and the driver, on a card that is not here to be asked
GPU_PROGRAM_BYTES = 512 << 20  # a process's own context on a card, cuBLAS and its workspaces


def machine(
    request: Request, hardware: Hardware, *, gpu_limit_bytes: int, program_ram: int, share: float = RAM_SHARE
) -> Machine:
    """Return the memory that a plan may use, in bytes. A GPU's memory counts where a GPU is wished for or is here."""
    ram, ram_reason = _ram(request, hardware, share)
    if not wants_gpu(request, hardware):
        return Machine(ram_bytes=ram, program_ram=program_ram, ram_reason=ram_reason)
    gpu, gpu_reason = _named(request, hardware.gpus) or _gpu(request, hardware.gpus, gpu_limit_bytes)
    return Machine(ram, max(0, gpu), program_ram, GPU_PROGRAM_BYTES, ram_reason, gpu_reason)


def wants_gpu(request: Request, hardware: Hardware) -> bool:
    """Return whether the request means a GPU: the user said so, one is here, or memory was said beside RAM."""
    if device := request.device:
        return bool(device == "gpu")
    return bool(hardware.gpus) or bool(request.memory_gb and request.ram_gb)


def _ram(request: Request, hardware: Hardware, share: float) -> tuple[int, str]:
    said = request.ram_gb or (None if wants_gpu(request, hardware) else request.memory_gb)
    if said:
        return int(said * GIB), f"{memory_size(said * GIB)} of memory, as you said"
    free = int(hardware.ram_available_bytes * share)
    return free, f"{memory_size(free)} of memory ({share:.0%} of what is free)"


def _named(request: Request, gpus: tuple[Gpu, ...]) -> tuple[int, str] | None:
    """Return the memory of the card that the request names; None where an amount was said, or where it is here."""
    card = cards.find(request.card.lower()) if request.card and not request.memory_gb else None
    here = [found.name.removeprefix("laptop ") for one in gpus if (found := cards.find(one.name.lower()))]
    if card is None or card.name.removeprefix("laptop ") in here:
        return None
    whole, reserve = card.memory_gb * GIB, memory_size(GPU_RESERVE_BYTES)
    return whole - GPU_RESERVE_BYTES, f"{memory_size(whole)} on the GPU ({card}), less {reserve} for others"


def _gpu(request: Request, gpus: tuple[Gpu, ...], limit_bytes: int) -> tuple[int, str]:
    if said := request.memory_gb:
        reserve = memory_size(GPU_RESERVE_BYTES)
        return int(said * GIB) - GPU_RESERVE_BYTES, f"{memory_size(said * GIB)} on the GPU, less {reserve} for others"
    if gpus:
        gpu = max(gpus, key=lambda one: one.memory_free_bytes)
        usable = min(gpu.memory_free_bytes, limit_bytes)
        why = "what is free" if usable == gpu.memory_free_bytes else "gpu_memory_limit"
        return usable, f"{memory_size(usable)} on the GPU ({why})"
    limit = f"{memory_size(limit_bytes)} on a GPU (the setting gpu_memory_limit; `--memory` names another)"
    return limit_bytes - GPU_RESERVE_BYTES, f"{limit}, less a reserve"


def wish(request: Request, longest: int | None, types: frozenset[str] | None) -> Wish:
    """Return the wish for a model that was trained for `longest` tokens; `types` are the types to choose from (None:
    all).

    A file's greatest size without a priority means the best quality within it.
    """
    context, target = request.context, request.target_size_gb
    keys, _, values = str(request.kv_type or "").partition("/")
    return Wish(
        context=min(context, longest) if context and longest else context,
        parallel=request.parallel or 1,
        priority=request.priority or ("quality" if target else None),
        device=request.device,
        types=types,
        cache=(keys, values or keys) if keys else None,
        file_bytes=int(target * GB) if target else None,
    )
