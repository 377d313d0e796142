"""The worker's side of a quantization: the plan's backend does it. Knows nothing of what comes before or after."""

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
    """`params`: {"plan", "source", "out", "work"}, and where they are needed "weights" and "used" (see `Source`),
    "ahead" (plans) and "afresh" (nothing that an earlier job measured of the model is used); gives `Built` as JSON.
    Raises LqmfError."""
    params = task.params
    plan = from_json(QuantizationPlan, params["plan"])
    ahead = [from_json(QuantizationPlan, one) for one in params.get("ahead", ())]
    used = Path(params["used"]) if params.get("used") else None
    source = Source(Path(params["source"]), tuple(map(Path, params.get("weights", ()))), used)
    work = Path(params["work"])
    with measured_afresh(work / "measured") if params.get("afresh") else contextlib.nullcontext():
        built = backend(plan.method).quantize(plan, source, Path(params["out"]), work, emit, ahead)
    return dict(to_json(built))
