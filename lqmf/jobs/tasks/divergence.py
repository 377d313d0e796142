"""The worker's side of a test: how far an artifact's predictions are from its source's, on one text.

Both models are in this process, one window's logits of each in memory at a time. Windows come in a fixed order, so
that a shorter run measures a beginning of what a longer one does. Knows nothing of speed or memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.errors import MeasurementError
from lqmf.events import Emit
from lqmf.inference.local import LocalEngine
from lqmf.inference.registry import open_engine
from lqmf.quality.divergence import DivergenceMeter
from lqmf.quality.perplexity import Perplexity, log_softmax
from lqmf.quality.stage import Report, stage
from lqmf.quality.windows import cut, first_scored
from lqmf.records import Task, to_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST_WINDOWS = 4
Scored = tuple["NDArray[np.float32]", "NDArray[np.int64]"]


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """`params`: {"artifact": path, "base": path or None, "base_reason": why None, "text": path, "window_tokens": 512,
    "max_windows": or None, "budget_seconds": or None, "device": "auto"/"cpu"/"gpu"}.

    Gives the receipt's `base`, `perplexity`, `kl_divergence`, `top1_agreement`, `tokens_evaluated`, `window_tokens`,
    `text` and `reasons`, with `windows`, `windows_in_text` and `seconds`. At least four windows are measured (or all
    there are), whatever the budget. Raises MeasurementError, ModelError, OutOfMemory.
    """
    params = task.params
    text = Path(params["text"])
    device = params.get("device") or "auto"
    with contextlib.ExitStack() as stack, stage(emit, "divergence", f"Reading {text.stem}", "windows") as report:
        artifact = stack.enter_context(_open(params["artifact"], device))
        base = stack.enter_context(_open(params["base"], device)) if params.get("base") else None
        windows = _windows(text.read_text(encoding="utf-8"), artifact, base, params.get("window_tokens") or 512)
        chosen = windows[: params.get("max_windows") or None]
        budget = _Budget(params.get("budget_seconds"), len(chosen), report)
        measured = _compare(base, artifact, chosen, budget) if base else _alone(artifact, chosen, budget)
    if not math.isfinite(measured["perplexity"]):
        measured["perplexity"] = None
        measured["reasons"] |= {"perplexity": "beyond measure: it rules out what the text says"}
    if base is None:
        reason = params.get("base_reason") or "there is no source to compare with"
        measured["reasons"] |= dict.fromkeys(("base", "kl_divergence", "top1_agreement"), reason)
    return {
        **measured,
        "tokens_evaluated": budget.done * (len(chosen[0]) - 1 - first_scored(len(chosen[0]))),
        "window_tokens": len(chosen[0]),
        "text": {"name": text.stem, "sha256": hashlib.sha256(text.read_bytes()).hexdigest()},
        "windows": budget.done,
        "windows_in_text": len(windows),
        "seconds": budget.seconds,
        "engine": artifact.name,
    }


def _open(path: str, device: str) -> LocalEngine:
    return open_engine(Path(path), device=device)


def _windows(text: str, artifact: LocalEngine, base: LocalEngine | None, length: int) -> list[list[int]]:
    """The windows for both. Raises MeasurementError when the two do not read the text alike, or it is too short."""
    tokens, begin = artifact.tokenize(text), artifact.tokenize("", bos=True)
    if base is not None:
        same_words = base.vocabulary == artifact.vocabulary
        if not same_words or base.tokenize(text) != tokens or base.tokenize("", bos=True) != begin:
            raise MeasurementError(
                "The artifact and its source read the same text as different tokens, so their predictions cannot be "
                "compared.",
                "Give the model that the artifact was made from: lqmf test NAME --base MODEL",
            )
    length = min(length, artifact.context_length, *([base.context_length] if base else []))
    windows = cut(tokens, length, begin[0] if begin else None)
    if not windows:
        raise MeasurementError(
            f"The text has {len(tokens)} tokens; a window needs {length}.", "Give a longer text to measure on."
        )
    return windows


class _Budget:
    """Hands out windows until the time is over, and counts them."""

    def __init__(self, budget_seconds: float | None, total: int, report: Report) -> None:
        self._started = time.monotonic()
        self._end = math.inf if budget_seconds is None else self._started + budget_seconds
        self._total, self._report = total, report
        self.done = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def spend(self, windows: Sequence[list[int]]) -> Iterator[list[int]]:
        """`windows`, stopping when the budget is over and at least FEWEST_WINDOWS are through."""
        for window in windows:
            if self.done >= FEWEST_WINDOWS and time.monotonic() > self._end:
                return
            yield window
            self.done += 1
            self._report(self.done, self._total, "")


def _scored(engine: LocalEngine, window: list[int]) -> NDArray[np.float32]:
    """Logits (N, V) at the positions whose next token counts: those of the second half but the last."""
    first = first_scored(len(window))
    (logits,) = engine.logits([window], first=first)
    return logits[:-1]


def _targets(window: list[int]) -> NDArray[np.int64]:
    import numpy as np

    return np.asarray(window[first_scored(len(window)) + 1 :], dtype=np.int64)


def _compare(base: LocalEngine, artifact: LocalEngine, windows: Sequence[list[int]], budget: _Budget) -> dict[str, Any]:
    meter = DivergenceMeter()
    for window in budget.spend(windows):
        meter.add(_scored(base, window), _scored(artifact, window), _targets(window))
    divergence = to_json(meter.divergence())
    measured = {
        "base": {"perplexity": meter.source.value, "engine": base.name},
        "perplexity": meter.artifact.value,
        "kl_divergence": divergence,
        "top1_agreement": meter.top1_agreement,
        "reasons": {"kl_divergence.noise_floor": "not measured in this version"},
    }
    if not math.isfinite(divergence["mean"]):
        measured["kl_divergence"] = None
        measured["reasons"] = {"kl_divergence": "infinite: the artifact rules out tokens that its source expects"}
    return measured


def _alone(artifact: LocalEngine, windows: Sequence[list[int]], budget: _Budget) -> dict[str, Any]:
    perplexity = Perplexity()
    for window in budget.spend(windows):
        perplexity.add(log_softmax(_scored(artifact, window)), _targets(window))
    nothing = {"base": None, "kl_divergence": None, "top1_agreement": None}
    return {**nothing, "perplexity": perplexity.value, "reasons": {}}
