"""The worker's side of a test of a model that does not continue text: how far what it makes of a text is from what its
source makes of it. Of an encoder the cosines of its states; of an encoder-decoder the loss of an answer that is known
(the second half of each window, told from the first), and the divergence of its predictions there.

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
    """`params`: {"artifact": path, "base": path or None, "base_reason": why None, "text": path, "window_tokens": 512,
    "max_windows": or None, "budget_seconds": or None, "device": "auto"/"cpu"/"gpu"}.

    Gives the receipt's `base`, `similarity` or `sequence_loss` (with `kl_divergence` and `top1_agreement`),
    `tokens_evaluated`, `window_tokens`, `text` and `reasons`. At least four windows are measured (or all there are),
    whatever the budget. Raises MeasurementError, ModelError, OutOfMemory.
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
    """Raises MeasurementError when the two do not read the text alike."""
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
    """What can be said without a source: the loss of an encoder-decoder, nothing of an encoder."""
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
    """Mean negative log-likelihood of the known answers in nats a token, of both, with the paired standard error of the
    difference."""
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
    """What is read, framed, and what is to be answered."""
    middle = len(window) // 2
    return reader.add_special_tokens(window[:middle]), window[middle:]


def _array(tokens: list[int]) -> Any:
    import numpy as np

    return np.asarray(tokens, dtype=np.int64)


# ---------------------------------------------------------------- windows


def _windows(params: Mapping[str, Any], words: str, reader: Reader, holds: int) -> list[list[int]]:
    """Raises MeasurementError when the text is too short for one."""
    length = min(params.get("window_tokens") or 512, holds) - len(reader.add_special_tokens([]))
    tokens = reader.tokenize(words)
    windows = cut(tokens, length) if length > 1 else []
    if not windows:
        message = f"The text has {len(tokens)} tokens; a window needs {max(2, length)}."
        raise MeasurementError(message, "Give a longer text to measure on.")
    return windows[: params.get("max_windows") or None]


def _spend(params: Mapping[str, Any], windows: list[list[int]], report: Report) -> Iterator[list[int]]:
    """`windows`, stopping when the budget is over and at least FEWEST_WINDOWS are through."""
    started, seconds = time.monotonic(), params.get("budget_seconds")
    for done, window in enumerate(windows):
        if done >= FEWEST_WINDOWS and seconds is not None and time.monotonic() - started > seconds:
            return
        yield window
        report(done + 1, len(windows), "")


def _counted(windows: list[list[int]], tokens: int) -> dict[str, Any]:
    return {"tokens_evaluated": tokens, "window_tokens": len(windows[0])}


def _reasons(reader: Reader, missing: tuple[str, ...]) -> dict[str, str]:
    return dict.fromkeys(missing, _NO_TEXT.format(reader.nature) + _INSTEAD[reader.nature])
