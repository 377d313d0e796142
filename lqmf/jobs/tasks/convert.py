"""Provides the base that an artifact is measured against, as the worker's task: its source, as the artifact's engine
can run it.

That is a GGUF of the source for a GGUF, and the source's own folder for all else. Knows nothing of measuring.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lqmf.events import Emit
from lqmf.quantization.gguf.backend import GgufBackend
from lqmf.records import QuantizationPlan, Task, from_json


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Return {"base": path of the base}, after converting the source where needed. Raises LqmfError.

    `params`: {"plan" (of the artifact to be measured), "source": path, "work": path}.
    """
    plan = from_json(QuantizationPlan, task.params["plan"])
    source, work = Path(task.params["source"]), Path(task.params["work"])
    if plan.format != "gguf":
        return {"base": str(source)}
    return {"base": str(GgufBackend().base(plan, source, work, emit))}
