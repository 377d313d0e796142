"""The worker's side of making a GGUF of a model's source to measure against. Knows nothing of measuring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lqmf.events import Emit
from lqmf.quantization.gguf.backend import GgufBackend
from lqmf.records import QuantizationPlan, Task, from_json


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """`params`: {"plan" (of what is to be measured), "source", "work"}; gives {"base": path}. Raises LqmfError."""
    plan = from_json(QuantizationPlan, task.params["plan"])
    source, work = Path(task.params["source"]), Path(task.params["work"])
    return {"base": str(GgufBackend().base(plan, source, work, emit))}
