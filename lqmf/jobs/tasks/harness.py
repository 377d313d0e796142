"""Runs lm-evaluation-harness tasks on one artifact, as the worker's task, with data from the harness's cache alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lqmf.events import Emit, stage
from lqmf.records import Task

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE")


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Run named tasks on an artifact.

    `params`: {"artifact": path, "tasks": names or YAML files, "limit": documents of each task or None, "device"}.
    Returns {"tasks": as `harness.run` says, "version": lm_eval's, "limit"}. Raises NotBuilt, NotFound where data is not
    in the cache, UsageError, and the errors of opening the artifact.
    """
    os.environ.update(dict.fromkeys(OFFLINE, "1"))  # before anything reads them
    from importlib.metadata import version

    from lqmf.engines.registry import open_artifact
    from lqmf.quality.benchmark import harness

    params, path = task.params, Path(task.params["artifact"])
    harness.require()
    with stage(
        emit, "tasks", f"Running {', '.join(Path(name).stem for name in params['tasks'])}", "requests"
    ) as report:
        loaded = harness.load(params["tasks"])
        done = 0

        def tell() -> None:
            nonlocal done
            done += 1
            report(done, None, "")

        with open_artifact(path, device=params.get("device") or "auto") as engine:
            found = harness.run(engine, loaded, params.get("limit"), tell)
    return {"tasks": found, "version": f"lm-eval {version('lm-eval')}", "limit": params.get("limit")}
