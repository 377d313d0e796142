"""Loads one artifact and checks its first predictions, as the worker's task of a verification. Measures no quality and
no speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lqmf.engines.registry import open_artifact
from lqmf.events import Emit, stage
from lqmf.quality.checks import checks, first_logits
from lqmf.records import Task, to_json

CONTEXT = 512  # tokens: the sentence is short, and a small cache is made at once


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Check an artifact's first predictions.

    `params`: {"artifact": path, "before": the receipt's `first_logits` or None, "device"}. Returns {"checks":
    [finite_predictions, and first_logits where `before` is given], "first_logits", "engine"}. Raises LqmfError, above
    all when the artifact cannot be loaded.
    """
    path, before = Path(task.params["artifact"]), task.params.get("before")
    device = task.params.get("device") or "auto"
    opened = open_artifact(path, device=device, context=CONTEXT)
    with stage(emit, "load", f"Running {path.name}", "steps"), opened as engine:
        found = [checks.finite_predictions(engine, engine.tokenize(first_logits.TEXT, bos=True))]
        if not found[0].passed:
            return {"checks": to_json(found), "first_logits": None, "engine": engine.name}
        now = first_logits.measure(engine, before)
        if before:
            found.append(first_logits.compare(before, now))
        return {"checks": to_json(found), "first_logits": now, "engine": engine.name}
