"""Measures a model behind an address, as the worker's task: in a process of its own, so that it can be cancelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lqmf.engines.http.engine import HttpEngine
from lqmf.events import Emit, stage
from lqmf.quality import address
from lqmf.quality.benchmark import prompts
from lqmf.records import Task


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Measure the model at an address. Returns a receipt's fields, or a benchmark's, with the "model" that was asked.

    `params`: {"address": of an OpenAI-compatible server, "model": its name there or None, "key": or None, "depth":
    "quick"/"comprehensive"}, with "text" (a path) for a receipt's fields, or with "parallel" and "prompts" (a path) for
    a benchmark's. Raises LqmfError, above all where nobody answers.
    """
    params = task.params
    depth = address.DEPTHS[params.get("depth") or "quick"]
    with stage(emit, "address", f"Asking {params['address']}", "steps") as report:
        with HttpEngine(params["address"], params.get("model") or "", params.get("key")) as engine:
            model = address.chosen_model(engine, params.get("model"))
        with HttpEngine(params["address"], model, params.get("key")) as engine:
            if params.get("prompts"):
                chosen = prompts.read(Path(params["prompts"]))
                found = address.timings(engine, depth, int(params["parallel"]), chosen, report)
            else:
                found = address.receipt(engine, depth, Path(params["text"]), report)
    return {"model": model, **found}
