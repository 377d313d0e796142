"""Writes the figures of a fit as parts of a sentence. Pure; knows no model and no terminal."""

from __future__ import annotations

from lqmf.records import Footprint
from lqmf.units import memory_size


def memory(taken: Footprint) -> str:
    """Return a footprint in words: "4.8 GB of memory", or with layers on a GPU "5.2 GB on the GPU and 470 MB of
    RAM"."""
    if not taken.gpu:
        return f"{memory_size(taken.ram)} of memory"
    return f"{memory_size(taken.gpu)} on the GPU and {memory_size(taken.ram)} of RAM"
