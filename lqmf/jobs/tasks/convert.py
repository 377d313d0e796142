"""The worker's side of making a 16-bit GGUF alone, to measure against. Knows nothing of measuring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lqmf.events import Emit
from lqmf.quantization.gguf.convert import make_base
from lqmf.records import Task


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """`params`: {"source", "scratch", "name", "allow_remote_code"}; gives {"base": path}. Raises LqmfError."""
    source, scratch = Path(task.params["source"]), Path(task.params["scratch"])
    allowed = bool(task.params.get("allow_remote_code", False))
    made = make_base(source, scratch, emit, name=str(task.params["name"]), allow_remote_code=allowed)
    return {"base": str(made.path), "notes": list(made.notes)}
