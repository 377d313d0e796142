"""The worker's side of a quantization: the plan's backend does it. Knows nothing of what comes before or after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lqmf.events import Emit
from lqmf.quantization.registry import backend
from lqmf.records import QuantizationPlan, Task, from_json, to_json


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """`params`: {"plan", "source", "out", "scratch"}; gives `Built` as JSON. Raises LqmfError."""
    plan = from_json(QuantizationPlan, task.params["plan"])
    source, out, scratch = (Path(task.params[key]) for key in ("source", "out", "scratch"))
    built = backend(plan.method).quantize(plan, source, out, scratch, emit)
    return dict(to_json(built))
