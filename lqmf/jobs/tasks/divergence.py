"""The worker's side of a test: how far an artifact's predictions are from its source's, on one text.

Both models are in this process, one window's logits of each in memory at a time; where both do not fit, the source
reads first and its logits wait on the disk. Windows come in a fixed order, so that a shorter run measures a beginning
of what a longer one does. Knows nothing of speed or memory.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.errors import MeasurementError
from lqmf.events import Emit
from lqmf.inference.local import LocalEngine
from lqmf.inference.registry import open_engine
from lqmf.quality.divergence import DivergenceMeter
from lqmf.quality.perplexity import Perplexity, log_softmax
from lqmf.quality.stage import Report, stage
from lqmf.quality.turns import Waiting, too_large_together
from lqmf.quality.windows import cut, first_scored
from lqmf.records import Task, to_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST_WINDOWS = 4


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """`params`: {"artifact": path, "base": path or None, "base_reason": why None, "text": path, "window_tokens": 512,
    "max_windows": or None, "budget_seconds": or None, "device": "auto"/"cpu"/"gpu", "in_turns": whether one model is to
    be gone before the other comes (left out: where both do not fit)}.

    Gives the receipt's `base`, `perplexity`, `kl_divergence`, `top1_agreement`, `tokens_evaluated`, `window_tokens`,
    `text` and `reasons`, with `windows`, `windows_in_text` and `seconds`. At least four windows are measured (or all
    there are), whatever the budget. Raises MeasurementError, ModelError, OutOfMemory.
    """
    text = Path(task.params["text"])
    with stage(emit, "divergence", f"Reading {text.stem}", "windows") as report:
        measured = _measure(task, text.read_text(encoding="utf-8"), report)
    if measured["perplexity"] is not None and not math.isfinite(measured["perplexity"]):
        measured["perplexity"] = None
        measured["reasons"] |= {"perplexity": "beyond measure: it rules out what the text says"}
    return {**measured, "text": {"name": text.stem, "sha256": hashlib.sha256(text.read_bytes()).hexdigest()}}


def _measure(task: Task, text: str, report: Report) -> dict[str, Any]:
    """What `run` gives, but for the text's name and what is beyond measure."""
    params, ways = task.params, _Ways(task.params, text, report)
    artifact = Path(params["artifact"])
    if not params.get("base"):
        return _alone(ways, artifact, params.get("base_reason") or "there is no source to compare with")
    base = Path(params["base"])
    apart = params.get("in_turns")
    if too_large_together(base, artifact, ways.device) if apart is None else apart:
        return _in_turns(ways, base, artifact, Path(task.log).parent)
    return _side_by_side(ways, base, artifact)


# ---------------------------------------------------------------- windows


@dataclass(frozen=True)
class _Reading:
    """How a model reads the text: its tokens, the beginning token where there is one, and how many it holds."""

    vocabulary: int
    tokens: list[int]
    begin: list[int]
    context_length: int

    @classmethod
    def by(cls, engine: LocalEngine, text: str) -> _Reading:
        return cls(engine.vocabulary, engine.tokenize(text), engine.tokenize("", bos=True), engine.context_length)

    def windows(self, length: int) -> list[list[int]]:
        """Raises MeasurementError when the text is too short for one."""
        length = min(length, self.context_length)
        windows = cut(self.tokens, length, self.begin[0] if self.begin else None)
        if not windows:
            message = f"The text has {len(self.tokens)} tokens; a window needs {length}."
            raise MeasurementError(message, "Give a longer text to measure on.")
        return windows

    def must_be(self, other: _Reading) -> None:
        """Raises MeasurementError when the two do not read the text alike."""
        if (self.vocabulary, self.tokens, self.begin) != (other.vocabulary, other.tokens, other.begin):
            raise MeasurementError(
                "The artifact and its source read the same text as different tokens, so their predictions cannot be "
                "compared.",
                "Give the model that the artifact was made from: lqmf test NAME --base MODEL",
            )


class _Ways:
    """What the ways to measure share: how a model is opened, which windows are read, and for how long."""

    def __init__(self, params: Mapping[str, Any], text: str, report: Report) -> None:
        self.device = params.get("device") or "auto"
        self.text = text
        self._length = params.get("window_tokens") or 512
        self._most = params.get("max_windows") or None
        self._seconds, self._report = params.get("budget_seconds"), report

    def open(self, path: Path) -> LocalEngine:
        return open_engine(path, device=self.device)

    def chosen(self, windows: list[list[int]]) -> list[list[int]]:
        return windows[: self._most]

    def windows(self, *readings: _Reading) -> list[list[int]]:
        """Those of the model that holds least. Raises MeasurementError."""
        return min(readings, key=lambda one: one.context_length).windows(self._length)

    def budget(self, total: int) -> _Budget:
        return _Budget(self._seconds, total, self._report)


class _Budget:
    """Hands out windows until the time is over, and counts them."""

    def __init__(self, budget_seconds: float | None, total: int, report: Report) -> None:
        self._started = time.monotonic()
        self._seconds = math.inf if budget_seconds is None else budget_seconds
        self._total, self._report = total, report
        self._told = 0
        self.done = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def spend(self, windows: Sequence[list[int]], share: float = 1.0) -> Iterator[list[int]]:
        """`windows`, stopping when this `share` of the budget is over and at least FEWEST_WINDOWS are through."""
        self.done = 0
        for window in windows:
            if self.done >= FEWEST_WINDOWS and self.seconds > share * self._seconds:
                return
            yield window
            self.done += 1
            self._told += 1
            self._report(self._told, self._total, "")


def _scored(engine: LocalEngine, window: list[int]) -> NDArray[np.float32]:
    """Logits (N, V) at the positions whose next token counts: those of the second half but the last."""
    first = first_scored(len(window))
    (logits,) = engine.logits([window], first=first)
    return logits[:-1]


def _targets(window: list[int]) -> NDArray[np.int64]:
    import numpy as np

    return np.asarray(window[first_scored(len(window)) + 1 :], dtype=np.int64)


# ---------------------------------------------------------------- ways to measure


def _side_by_side(ways: _Ways, base_path: Path, artifact_path: Path) -> dict[str, Any]:
    with ways.open(artifact_path) as artifact, ways.open(base_path) as base:
        reading, bases = _Reading.by(artifact, ways.text), _Reading.by(base, ways.text)
        reading.must_be(bases)
        windows = ways.windows(reading, bases)
        chosen, meter = ways.chosen(windows), DivergenceMeter()
        budget = ways.budget(len(chosen))
        for window in budget.spend(chosen):
            meter.add(_scored(base, window), _scored(artifact, window), _targets(window))
        return {**_compared(meter, base.name), **_told(windows, budget, artifact.name)}


def _in_turns(ways: _Ways, base_path: Path, artifact_path: Path, folder: Path) -> dict[str, Any]:
    """The same figures from the same windows, with the source gone before the artifact is loaded."""
    with ExitStack() as stack:
        waiting = stack.enter_context(Waiting(folder))
        with ways.open(base_path) as base:
            bases, base_name = _Reading.by(base, ways.text), base.name
            windows = ways.windows(bases)
            chosen = ways.chosen(windows)
            budget = ways.budget(2 * len(chosen))
            for window in budget.spend(chosen, share=0.5):
                rows = _scored(base, window)
                if not waiting.takes(rows.shape):
                    break
                waiting.put(rows)
        artifact = stack.enter_context(ways.open(artifact_path))
        reading, meter = _Reading.by(artifact, ways.text), DivergenceMeter()
        reading.must_be(bases)
        for window, rows in zip(budget.spend(chosen), waiting, strict=False):
            meter.add(rows, _scored(artifact, window), _targets(window))
        return {**_compared(meter, base_name), **_told(windows, budget, artifact.name)}


def _alone(ways: _Ways, artifact_path: Path, reason: str) -> dict[str, Any]:
    with ways.open(artifact_path) as artifact:
        windows = ways.windows(_Reading.by(artifact, ways.text))
        chosen, perplexity = ways.chosen(windows), Perplexity()
        budget = ways.budget(len(chosen))
        for window in budget.spend(chosen):
            perplexity.add(log_softmax(_scored(artifact, window)), _targets(window))
        missing = ("base", "kl_divergence", "top1_agreement")
        measured = {**dict.fromkeys(missing), "reasons": dict.fromkeys(missing, reason), "perplexity": perplexity.value}
        return {**measured, **_told(windows, budget, artifact.name)}


def _told(windows: Sequence[list[int]], budget: _Budget, engine: str) -> dict[str, Any]:
    length = len(windows[0])
    return {
        "tokens_evaluated": budget.done * (length - 1 - first_scored(length)),
        "window_tokens": length,
        "windows": budget.done,
        "windows_in_text": len(windows),
        "seconds": budget.seconds,
        "engine": engine,
    }


def _compared(meter: DivergenceMeter, base: str) -> dict[str, Any]:
    divergence = to_json(meter.divergence())
    measured = {
        "base": {"perplexity": meter.source.value, "engine": base},
        "perplexity": meter.artifact.value,
        "kl_divergence": divergence,
        "top1_agreement": meter.top1_agreement,
        "reasons": {"kl_divergence.noise_floor": "not measured in this version"},
    }
    if not math.isfinite(divergence["mean"]):
        measured["kl_divergence"] = None
        measured["reasons"] = {"kl_divergence": "infinite: the artifact rules out tokens that its source expects"}
    return measured
