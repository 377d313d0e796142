"""Quantizes a model by the plan's backend, as the worker's task. Knows nothing of earlier or later steps."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from lqmf.events import Emit
from lqmf.quantization.promise import Source
from lqmf.quantization.registry import backend
from lqmf.records import QuantizationPlan, Task, from_json, to_json
from lqmf.workspace import measured_afresh


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Quantize, and return `Built` as JSON.

    `params`: {"plan", "source", "out", "work"}, and where they are needed "weights" and "consumed_dir" (see `Source`),
    "later_plans", and "afresh" (no measurement of the model by an earlier job is used). Raises LqmfError.
    """
    params = task.params
    plan = from_json(QuantizationPlan, params["plan"])
    later = [from_json(QuantizationPlan, one) for one in params.get("later_plans", ())]
    consumed = Path(params["consumed_dir"]) if params.get("consumed_dir") else None
    source = Source(Path(params["source"]), tuple(map(Path, params.get("weights", ()))), consumed)
    work = Path(params["work"])
    with measured_afresh(work / "measured") if params.get("afresh") else contextlib.nullcontext():
        built = backend(plan.method).quantize(plan, source, Path(params["out"]), work, emit, later)
    return dict(to_json(built))
