"""Checks that every working model passes, whatever its quality and its source. Knows an engine, samples and weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lqmf.engines.local import LocalEngine
from lqmf.engines.promise import Engine
from lqmf.errors import IncompleteModel, UsageError
from lqmf.quality.checks.finite import infinite, lacking_bytes
from lqmf.quality.receipt.samples import Sample, loops
from lqmf.quality.receipt.weights import Weights, zeroed
from lqmf.records import Check


def weights_present(weights: Weights) -> Check:
    """Return the check that no weight matrix is all zeros."""
    empty = zeroed(weights.matrices)
    return Check("weights_present", not empty, f"all zero: {', '.join(empty[:4])}" if empty else "")


def whole_file(path: Path) -> Check:
    """Return the check that every file of weights at `path` is there, and as long as its header says. Raises NotFound,
    and ModelError for a header that cannot be read."""
    try:
        short = [f"{name} lacks {missing:,} bytes" for name, missing in lacking_bytes(path) if missing]
    except IncompleteModel as error:
        short = [error.message]
    return Check("whole_file", not short, "; ".join(short))


def finite_weights(path: Path, seconds: float | None = None) -> Check:
    """Return the check that no stored float and no scale is NaN or infinite. Reads every byte of GGUF files, and only
    the floats of safetensors. Raises OutOfTime where `seconds` (None: no limit) were not enough."""
    broken = infinite(path, seconds)
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    told = f"NaN or infinity in {', '.join(broken[:3])}{more}"
    return Check("finite_weights", not broken, told if broken else "")


def finite_predictions(engine: Engine, tokens: Sequence[int]) -> Check:
    """Return the check that every prediction over the text `tokens` is a number, and that no prediction is flat (all
    next tokens equally likely)."""
    import numpy as np

    (logits,) = engine.logits([tokens])
    if not (logits < np.inf).all():
        return Check("finite_predictions", False, "it predicts NaN or infinity")
    flat = int((logits.max(axis=-1) == logits.min(axis=-1)).sum())
    return Check("finite_predictions", flat == 0, f"{flat} of {len(tokens)} predictions are flat" if flat else "")


def stops(engine: LocalEngine) -> Check | None:
    """Return the check that the chat template closes an answer with a token that ends generation, so that a chat can
    stop. None where there is no template, or it writes nothing after an answer."""
    said = "Goodbye"
    conversation = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": said}]
    try:
        text = engine.render(conversation, add_generation_prompt=False)
    except UsageError:
        return None
    closing = text.rpartition(said)[2]
    if not closing.strip():
        return None
    ended = any(engine.ends(token) for token in engine.tokenize(closing, special=True))
    return Check("stops", ended, "" if ended else f"answers are closed by {closing.strip()!r}, which ends nothing")


def answers(samples: Sequence[Sample]) -> list[Check]:
    """Return the checks on the model's answers: none is empty ("speaks"), and none ends in a loop ("no_loops")."""
    empty = sum(not s.response.strip() for s in samples)
    circles = sum(loops(s.tokens) for s in samples)
    return [
        Check("speaks", empty == 0, f"{empty} of {len(samples)} answers are empty" if empty else ""),
        Check("no_loops", circles == 0, f"{circles} of {len(samples)} answers go in circles" if circles else ""),
    ]
