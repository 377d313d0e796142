"""Times one artifact and asks it the prompts, as the worker's task of a benchmark: in this fresh process, at several
depths and with several chats at once. Compares with no source; that is the task `agreement`, in a process of its
own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lqmf.engines.local import LocalEngine
from lqmf.engines.promise import Sampling
from lqmf.engines.registry import open_artifact
from lqmf.errors import MeasurementError
from lqmf.events import Emit, Report, stage
from lqmf.quality.benchmark import answering, prompts, scaling
from lqmf.quality.benchmark.energy import EnergyMeter
from lqmf.quality.benchmark.scaling import Load
from lqmf.quality.receipt import samples
from lqmf.quality.receipt.memory import peak_rss_bytes
from lqmf.quality.receipt.utilization import Watch
from lqmf.records import Task

LOAD_AGAIN_SECONDS = 5.0  # a model that loads faster is loaded several times


@dataclass(frozen=True)
class Depth:
    """The amount of work: the tokens that one timed run reads and writes, the depths, the seconds; prompts of each
    category, and the tokens of an answer."""

    load: Load
    context_tokens: tuple[int, ...]
    budget_seconds: float
    prompts_each: int | None
    answer_tokens: int


DEPTHS = {
    "quick": Depth(Load(256, 32, 3), (0, 512, 2048), 60.0, 2, 64),
    "comprehensive": Depth(Load(512, 128, 5), (0, 512, 1024, 2048, 4096, 8192, 16384, 32768), 600.0, None, 128),
}


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Time one artifact and ask it the prompts.

    `params`: {"artifact": path, "depth": "quick"/"comprehensive", "parallel": chats at once, "prompts": path of a file,
    "device": "auto"/"cpu"/"gpu", "context": tokens or None}.

    Returns {"load_seconds": {"median", "runs"}, "memory_bytes": {"loaded", "one", "parallel", "gpu"}, "speed": as
    `scaling.measure` says, "energy_joules_per_token": {"cpu", "gpu"}, "answers": as `Answered.to_json` says, "prompts":
    {"name", "sha256"}, "engine", "device", "reasons"}. Raises LqmfError, above all when the artifact cannot be loaded.
    """
    params, path = task.params, Path(task.params["artifact"])
    depth = DEPTHS[params.get("depth") or "quick"]
    chosen = prompts.read(Path(params["prompts"])).first(depth.prompts_each)
    with stage(emit, "benchmark", f"Timing {path.name}", "steps") as report:
        opened, loads = _opened(path, params, depth.load.runs)
        with opened as engine:
            measured = _measured(engine, depth, int(params["parallel"]), chosen, report)
    return {"load_seconds": loads, **measured, "prompts": {"name": chosen.name, "sha256": chosen.sha256}}


def _opened(path: Path, params: Mapping[str, Any], runs: int) -> tuple[LocalEngine, dict[str, Any]]:
    """Return the engine, loaded up to `runs` times where that is quick, and the seconds of each load until the first
    token."""
    seconds: list[float] = []
    while True:
        started = time.perf_counter()
        engine = open_artifact(path, device=params.get("device") or "auto", context=params.get("context"))
        list(engine.generate(_reading(engine)[:4], Sampling(max_tokens=1)))
        seconds.append(time.perf_counter() - started)
        if len(seconds) == runs or seconds[0] > LOAD_AGAIN_SECONDS:
            return engine, {"median": median(seconds), "runs": seconds}
        engine.close()


def _measured(
    engine: LocalEngine, depth: Depth, parallel: int, chosen: prompts.PromptSet, report: Report
) -> dict[str, Any]:
    wanted = scaling.points(engine.context_length, parallel, depth.load, depth.context_tokens)
    total, memory = len(chosen.prompts) + len(wanted), {"loaded": peak_rss_bytes()}
    with Watch() as watch:
        with EnergyMeter() as energy:
            answers = []
            for answered in answering.take(engine, chosen, depth.answer_tokens):
                answers.append(answered.to_json())
                report(len(answers), total, f"answering: {answered.prompt.category}")
        memory["one"] = peak_rss_bytes()
        speed = []
        for row in scaling.measure(engine, _reading(engine), wanted, depth.load, depth.budget_seconds):
            speed.append(row)
            report(len(answers) + len(speed), total, f"timed {row['parallel']} at {row['context_tokens']} tokens")
    written = sum(len(answer["tokens"] or ()) for answer in answers)
    return {
        "memory_bytes": {
            **memory,
            "parallel": peak_rss_bytes() if parallel > 1 else None,
            "gpu": watch.gpu_peak_bytes,
        },
        "speed": speed,
        "energy_joules_per_token": {name: _each(joules, written) for name, joules in energy.joules.items()},
        "answers": answers,
        "engine": engine.name,
        "device": engine.device,
        "reasons": _reasons(energy, watch, parallel),
    }


def _each(joules: float | None, tokens: int) -> float | None:
    return joules / tokens if joules is not None and tokens else None


def _reasons(energy: EnergyMeter, watch: Watch, parallel: int) -> dict[str, str]:
    reasons = {f"energy_joules_per_token.{name}": reason for name, reason in energy.reasons().items()}
    if watch.gpu_peak_bytes is None:
        reasons["memory_bytes.gpu"] = "nothing of this process was on a GPU that reports it"
    if parallel == 1:
        reasons["memory_bytes.parallel"] = "only one chat at once was asked for"
    return reasons


def _reading(engine: LocalEngine) -> Sequence[int]:
    """Return tokens of ordinary text. Raises MeasurementError when the tokenizer makes no tokens of it."""
    tokens = engine.tokenize(" ".join((*samples.BEGINNINGS, *samples.QUESTIONS)))
    if not tokens:
        raise MeasurementError("The model's tokenizer makes no tokens of plain English.", "lqmf verify NAME")
    return tokens
