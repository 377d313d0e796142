"""The worker's side of making what an artifact is measured against: its source, as the artifact's engine can run it.

That is a GGUF of it for a GGUF, and the source's own folder for all else. Knows nothing of
measuring.
"""

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
    if plan.format != "gguf":
        return {"base": str(source)}
    return {"base": str(GgufBackend().base(plan, source, work, emit))}
