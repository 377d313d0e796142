"""Generates one answer, as the worker's task: loads a model, continues a prompt or answers messages. Judges nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lqmf.engines.promise import Engine, Piece, Sampling
from lqmf.engines.registry import open_artifact
from lqmf.errors import UsageError
from lqmf.events import Emit, stage
from lqmf.records import Task, from_json


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Generate an answer. Each piece of it goes out as a Progress note.

    `params`: {"artifact": path, "prompt": text or "messages": [{"role", "content"}], "sampling": Sampling's fields,
    "device", "context"}. Returns {"text", "tokens", "seconds", "engine"}. Raises LqmfError.
    """
    params = task.params
    path = Path(params["artifact"])
    sampling = from_json(Sampling, params.get("sampling") or {})
    text: list[str] = []
    tokens = 0
    device = params.get("device") or "auto"
    opened = open_artifact(path, device=device, context=params.get("context"))
    with stage(emit, "generate", f"Asking {path.name}", "tokens") as report, opened as engine:
        started = time.perf_counter()
        for piece in _pieces(engine, params, sampling):
            tokens += piece.token is not None
            text.append(piece.text)
            report(tokens, sampling.max_tokens, piece.text)
        return {
            "text": "".join(text),
            "tokens": tokens,
            "seconds": time.perf_counter() - started,
            "engine": engine.name,
        }


def _pieces(engine: Engine, params: Any, sampling: Sampling) -> Iterator[Piece]:
    if params.get("messages"):
        return engine.generate(engine.render(params["messages"]), sampling)
    if params.get("prompt"):
        return engine.generate(params["prompt"], sampling)
    raise UsageError("There is nothing to answer.", "Give a prompt or messages.")
