"""A model's source as one F16 GGUF, made as LQMF makes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lqmf.events import Emit
from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.gguf.stream import pipeline


@dataclass(frozen=True)
class Base:
    path: Path
    notes: tuple[str, ...]


def make_base(source: Path, scratch: Path, emit: Emit, *, name: str, allow_remote_code: bool = False) -> Base:
    """`<name>-F16.gguf` in `scratch`. Raises as `stream` does."""
    path = scratch / f"{name}-F16.gguf"
    made = pipeline.stream(
        source,
        [pipeline.Output(path, "F16")],
        toolchain.ensure(),
        emit,
        scratch=scratch,
        name=name,
        allow_remote_code=allow_remote_code,
    )
    return Base(path, made.notes)
