"""Measures how far a model that does not continue text is from its source on a text, as the worker's task of a test. Of
an encoder it measures the cosines of its states; of an encoder-decoder the loss of a known answer (the second half of
each window, predicted from the first half), and the divergence of its predictions there.

Both models are in this process. Windows come in a fixed order. Knows nothing of speed or memory.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lqmf.engines.reader import Reader, open_reader
from lqmf.errors import MeasurementError
from lqmf.events import Emit, Report, stage
from lqmf.quality.receipt.divergence import DivergenceMeter
from lqmf.quality.receipt.perplexity import Perplexity, log_softmax, standard_error
from lqmf.quality.receipt.schedule import OVERTIME_SECONDS
from lqmf.quality.receipt.similarity import SimilarityMeter
from lqmf.records import Task, to_json
from lqmf.texts.windows import cut

FEWEST_WINDOWS = 4
_NO_TEXT = "it is an {}: it does not continue a text; "
_INSTEAD = {
    "encoder": "`similarity` says how near its embeddings are to the source's",
    "encoder-decoder": "`sequence_loss` is that of an answer which is known",
}
_OF_TEXT = ("perplexity", "perplexity_ratio", "right_token")
_OF_PREDICTIONS = ("kl_divergence", "top1_agreement")


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Measure an encoder or encoder-decoder against its source.

    `params`: {"artifact": path, "base": path or None, "base_reason": why None, "text": path, "window_tokens": 512,
    "max_windows": or None, "budget_seconds": or None, "device": "auto"/"cpu"/"gpu"}.

    Returns the receipt's `base`, `similarity` or `sequence_loss` (with `kl_divergence` and `top1_agreement`),
    `tokens_evaluated`, `window_tokens`, `text` and `reasons`. At least four windows are measured (or all there are),
    as far as they take a quarter of a minute more than the budget; one window in any case. Raises MeasurementError,
    ModelError, OutOfMemory.
    """
    params, text = task.params, Path(task.params["text"])
    device = params.get("device") or "auto"
    with stage(emit, "divergence", f"Reading {text.stem}", "windows") as report:
        words = text.read_text(encoding="utf-8")
        with open_reader(Path(params["artifact"]), device=device) as artifact:
            if params.get("base"):
                with open_reader(Path(params["base"]), device=device) as base:
                    measured = _compared(params, words, base, artifact, report)
            else:
                measured = _alone(params, words, artifact, report)
            measured["engine"] = artifact.name
    return {**measured, "text": {"name": text.stem, "sha256": hashlib.sha256(text.read_bytes()).hexdigest()}}


def _compared(params: Mapping[str, Any], words: str, base: Reader, artifact: Reader, report: Report) -> dict[str, Any]:
    """Return the figures of both models. Raises MeasurementError when they do not read the text as the same tokens."""
    if (artifact.tokenize(words), artifact.add_special_tokens([])) != (
        base.tokenize(words),
        base.add_special_tokens([]),
    ):
        raise MeasurementError(
            "The artifact and its source read the same text as different tokens, so they cannot be compared.",
            "Give the model that the artifact was made from: lqmf test NAME --base MODEL",
        )
    windows = _windows(params, words, artifact, min(artifact.context_length, base.context_length))
    spent = _spend(params, windows, report)
    told = _likeness if artifact.nature == "encoder" else _losses
    figures, tokens = told(spent, base, artifact)
    missing = _OF_TEXT if artifact.nature == "encoder-decoder" else (*_OF_TEXT, *_OF_PREDICTIONS)
    reasons = {**_reasons(artifact, missing), **figures.pop("reasons", {})}
    return {**figures, "base": {"engine": base.name}, "reasons": reasons, **_counted(windows, tokens)}


def _alone(params: Mapping[str, Any], words: str, artifact: Reader, report: Report) -> dict[str, Any]:
    """Return the figures that need no source: the loss of an encoder-decoder, none of an encoder."""
    why = params.get("base_reason") or "there is no source to compare with"
    windows = _windows(params, words, artifact, artifact.context_length)
    lacking = dict.fromkeys(("base", "similarity", *_OF_PREDICTIONS), why)
    told = {"reasons": {**_reasons(artifact, _OF_TEXT), **lacking}}
    if artifact.nature == "encoder":
        return told
    meter = Perplexity()
    for window in _spend(params, windows, report):
        text, target = _halves(artifact, window)
        meter.add(log_softmax(artifact.answers(text, target)), _array(target))
    loss = {"artifact": float(meter.surprises.mean()), "source": None}
    return {**told, "sequence_loss": loss, **_counted(windows, meter.tokens)}


# ---------------------------------------------------------------- the two kinds


def _likeness(windows: Iterator[list[int]], base: Reader, artifact: Reader) -> tuple[dict[str, Any], int]:
    meter = SimilarityMeter()
    for window in windows:
        text = artifact.add_special_tokens(window)
        meter.add(base.states(text), artifact.states(text))
    return {"similarity": meter.similarity()}, meter.tokens


def _losses(windows: Iterator[list[int]], base: Reader, artifact: Reader) -> tuple[dict[str, Any], int]:
    """Return the figures and the number of tokens: the mean negative log-likelihood of the known answers in nats a
    token, of both models, with the paired standard error of the difference."""
    meter = DivergenceMeter()
    for window in windows:
        text, target = _halves(artifact, window)
        meter.add(base.answers(text, target), artifact.answers(text, target), _array(target))
    change = meter.artifact.surprises - meter.source.surprises
    loss = {
        "artifact": float(meter.artifact.surprises.mean()),
        "source": float(meter.source.surprises.mean()),
        "change": float(change.mean()),
        "standard_error": standard_error(change),
    }
    divergence = to_json(meter.divergence())
    figures = {"sequence_loss": loss, "kl_divergence": divergence, "top1_agreement": meter.top1_agreement}
    if not math.isfinite(divergence["mean"]):
        why = "infinite: the artifact rules out tokens that its source expects"
        figures |= {"kl_divergence": None, "reasons": {"kl_divergence": why}}
    return figures, meter.tokens


def _halves(reader: Reader, window: list[int]) -> tuple[list[int], list[int]]:
    """Return (the framed tokens to read, the tokens to answer)."""
    middle = len(window) // 2
    return reader.add_special_tokens(window[:middle]), window[middle:]


def _array(tokens: list[int]) -> Any:
    import numpy as np

    return np.asarray(tokens, dtype=np.int64)


# ---------------------------------------------------------------- windows


def _windows(params: Mapping[str, Any], words: str, reader: Reader, holds: int) -> list[list[int]]:
    """Return the windows of the text. Raises MeasurementError when the text is too short for one window."""
    length = min(params.get("window_tokens") or 512, holds) - len(reader.add_special_tokens([]))
    tokens = reader.tokenize(words)
    windows = cut(tokens, length) if length > 1 else []
    if not windows:
        message = f"The text has {len(tokens)} tokens; a window needs {max(2, length)}."
        raise MeasurementError(message, "Give a longer text to measure on.")
    return windows[: params.get("max_windows") or None]


def _spend(params: Mapping[str, Any], windows: list[list[int]], report: Report) -> Iterator[list[int]]:
    """Yield `windows`, and stop when the budget is over and at least FEWEST_WINDOWS have been read, or one, and the
    budget is over by OVERTIME_SECONDS."""
    started, seconds = time.monotonic(), params.get("budget_seconds")
    for done, window in enumerate(windows):
        late = 0.0 if seconds is None else time.monotonic() - started - max(0.0, seconds)
        if done and late > (0.0 if done >= FEWEST_WINDOWS else OVERTIME_SECONDS):
            return
        yield window
        report(done + 1, len(windows), "")


def _counted(windows: list[list[int]], tokens: int) -> dict[str, Any]:
    return {"tokens_evaluated": tokens, "window_tokens": len(windows[0])}


def _reasons(reader: Reader, missing: tuple[str, ...]) -> dict[str, str]:
    return dict.fromkeys(missing, _NO_TEXT.format(reader.nature) + _INSTEAD[reader.nature])
