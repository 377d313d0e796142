"""Runs one artifact and reports how it behaves, as the worker's task of a test: in this fresh process.

Speed, latency, load time, memory, use of the processor, sample answers, and checks. Measures no quality against a
source; that is the task `divergence`, in a process of its own, so that this one's memory is the artifact's alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lqmf.engines.local import LocalEngine
from lqmf.engines.promise import Engine, Sampling
from lqmf.engines.registry import open_artifact
from lqmf.errors import MeasurementError
from lqmf.events import Emit, Report, stage
from lqmf.quality import measures
from lqmf.quality.checks import checks, first_logits
from lqmf.quality.receipt import samples, throughput
from lqmf.quality.receipt.memory import peak_rss_bytes
from lqmf.quality.receipt.samples import Sample
from lqmf.quality.receipt.throughput import Throughput
from lqmf.quality.receipt.utilization import Watch
from lqmf.quality.receipt.weights import Weights, weights
from lqmf.records import Task, to_json


@dataclass(frozen=True)
class Depth:
    """The amount of work: samples, timed runs, and the tokens that one run reads and writes."""

    samples: int
    runs: int
    prompt_tokens: int
    written_tokens: int
    budget_seconds: float


DEPTHS = {"quick": Depth(3, 3, 256, 64, 60.0), "comprehensive": Depth(6, 7, 512, 128, 300.0)}


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Run one artifact and measure its behaviour.

    `params`: {"artifact": path, "depth": "quick"/"comprehensive", "device": "auto"/"cpu"/"gpu", "context": tokens or
    None, "budget_seconds": or None}. Returns the receipt's fields of the same names, with `engine`, `device` and
    `reasons`. Raises LqmfError, above all when the artifact cannot be loaded.
    """
    params = task.params
    path = Path(params["artifact"])
    depth = DEPTHS[params.get("depth") or "quick"]
    budget = params.get("budget_seconds") or depth.budget_seconds
    with stage(emit, "probe", f"Running {path.name}", "steps") as report:
        report(0, depth.samples + 2, "loading")
        started = time.perf_counter()
        device = params.get("device") or "auto"
        with open_artifact(path, device=device, context=params.get("context")) as engine:
            list(engine.generate(_reading(engine, 4), Sampling(max_tokens=1)))
            load_seconds = time.perf_counter() - started
            report(0, depth.samples + 2, f"runs {engine.reason}")
            files = weights(path)
            behaviour = _behave(engine, files, depth, budget, report)
    size = {"size_bytes": files.size_bytes, "bits_per_weight": files.bits_per_weight}
    return {"load_seconds": load_seconds, **size, **behaviour}


def _behave(engine: LocalEngine, files: Weights, depth: Depth, budget: float, report: Report) -> dict[str, Any]:
    sound = checks.finite_predictions(engine, _reading(engine, 64))
    found = [check for check in (checks.weights_present(files), sound, checks.stops(engine)) if check]
    report(1, depth.samples + 2, "checked")
    if not sound.passed:  # there is nothing to sample from
        return {"checks": to_json(found), "reasons": {"samples": sound.detail}, **_where(engine)}
    with Watch() as watch:
        taken = _take(engine, depth, budget / 2, report)
        speed = _speed(engine, depth, budget / 2)
    report(depth.samples + 2, depth.samples + 2, "timed")
    peak = {"rss": peak_rss_bytes(), "gpu": watch.gpu_peak_bytes}
    return {
        "checks": to_json([*found, *checks.answers(taken)]),
        "first_logits": first_logits.measure(engine),
        "samples": [sample.to_json() for sample in taken],
        "latency_seconds": {
            "first_token": median(s.first_token_seconds for s in taken),
            "per_response": median(s.seconds for s in taken),
        },
        "tokens_per_second": {
            "prompt": speed.prompt_tokens_per_second,
            "generation": speed.generation_tokens_per_second,
        },
        "peak_memory_bytes": peak,
        "utilization": {"cpu": watch.cpu_percent, "gpu": watch.gpu_percent},
        "figures": measures.taken(engine),
        "reasons": _reasons(speed, watch),
        **_where(engine),
    }


def _where(engine: LocalEngine) -> dict[str, Any]:
    return {"engine": engine.name, "device": engine.device}


def _take(engine: Engine, depth: Depth, budget: float, report: Report) -> list[Sample]:
    """Take samples until the budget is over; at least one."""
    end = time.perf_counter() + budget
    taken: list[Sample] = []
    for sample in samples.take(engine, depth.samples):
        taken.append(sample)
        report(1 + len(taken), depth.samples + 2, "answering")
        if time.perf_counter() > end:
            break
    return taken


def _speed(engine: Engine, depth: Depth, budget: float) -> Throughput:
    prompt = _reading(engine, min(depth.prompt_tokens, engine.context_length // 2) + depth.runs - 1)
    return throughput.measure(engine, prompt, tokens=depth.written_tokens, runs=depth.runs, budget_seconds=budget)


def _reading(engine: Engine, count: int) -> list[int]:
    """Return `count` tokens of ordinary text. Raises MeasurementError when the tokenizer makes no tokens of it."""
    tokens = engine.tokenize(" ".join((*samples.BEGINNINGS, *samples.QUESTIONS)))
    if not tokens:
        raise MeasurementError("The model's tokenizer makes no tokens of plain English.", "lqmf verify NAME")
    return (tokens * (count // len(tokens) + 1))[:count]


def _reasons(speed: Throughput, watch: Watch) -> dict[str, str]:
    if speed.generation_tokens_per_second is not None:
        return watch.reasons()
    ended = "the model ended its answer before writing could be timed"
    return {"tokens_per_second.generation": ended, **watch.reasons()}
