"""Compares an artifact's answers with its source's, as the worker's task of a benchmark: the source answers the same
prompts, reads the artifact's answers, and both are scored for agreement. Times nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lqmf.engines.llama.embedding import Embedder
from lqmf.engines.local import LocalEngine
from lqmf.engines.registry import open_engine
from lqmf.errors import MeasurementError
from lqmf.events import Emit, stage
from lqmf.jobs.tasks.benchmark import DEPTHS
from lqmf.quality.benchmark import answering, prompts
from lqmf.quality.benchmark.scores import scores
from lqmf.records import Task


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Score how near the source's answers are to the artifact's.

    `params`: {"source": path, "depth", "prompts": path, "device", "answers": those of the task `benchmark`,
    "embedding": path of a GGUF embedding model or None}.

    Returns {"engine", "answers": [{"id", "source": {"response", "tokens": their number, "ended"}, "perplexity":
    {"artifact", "source"} of both answers under the source, "scores": those of `answers.SCORES`, "reason": why these
    are null, or null}]}. Prompts that did not fit the artifact are left out. Raises MeasurementError where artifact and
    source do not read a prompt as the same tokens, ModelError, OutOfMemory.
    """
    params, source = task.params, Path(task.params["source"])
    depth = DEPTHS[params.get("depth") or "quick"]
    rows = {row["id"]: row for row in params["answers"] if row["response"] is not None}
    known = prompts.read(Path(params["prompts"])).first(depth.prompts_each)
    chosen = prompts.PromptSet(known.name, known.sha256, tuple(p for p in known.prompts if p.id in rows))
    with ExitStack() as stack:
        report = stack.enter_context(stage(emit, "agreement", f"Asking the source, {source.name}", "answers"))
        engine = stack.enter_context(open_engine(source, device=params.get("device") or "auto"))
        embedder = stack.enter_context(Embedder(Path(params["embedding"]))) if params.get("embedding") else None
        found = []
        for answered in answering.take(engine, chosen, depth.answer_tokens):
            found.append(_beside(engine, embedder, rows[answered.prompt.id], answered))
            report(len(found), len(chosen.prompts), answered.prompt.category)
        return {"engine": engine.name, "answers": found}


def _beside(
    engine: LocalEngine, embedder: Embedder | None, row: Mapping[str, Any], answered: answering.Answered
) -> dict[str, Any]:
    prompt = answered.prompt_tokens
    if list(prompt) != list(row["prompt_tokens"]):
        raise MeasurementError(
            "The artifact and its source read the same prompt as different tokens: their answers cannot be compared.",
            "`lqmf test NAME` says which of its parts differ.",
        )
    if answered.answer is None:
        why = f"of the source, {answered.reason}"
        return {"id": row["id"], "source": None, "perplexity": None, "scores": None, "reason": why}
    said = answering.surprise(engine, prompt, row["tokens"])
    own = answering.surprise(engine, prompt, answered.answer.tokens)
    artifact, source = answering.answer_of(row, said), answering.answer_of(answered.to_json(), own)
    return {
        "id": row["id"],
        "source": {"response": source.text, "tokens": len(source.tokens), "ended": source.ended},
        "perplexity": {"artifact": _exp(said), "source": _exp(own)},
        "scores": scores(artifact, source, _cosine(embedder, artifact.text, source.text)),
        "reason": None,
    }


def _cosine(embedder: Embedder | None, one: str, other: str) -> float | None:
    return None if embedder is None else float(embedder.embed(one) @ embedder.embed(other))


def _exp(nats: float | None) -> float | None:
    return None if nats is None or nats > 700 else math.exp(nats)
