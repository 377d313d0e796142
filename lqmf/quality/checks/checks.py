"""What must hold for any working model, whatever its quality and its source. Knows an engine, samples and weights."""

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
    """No weight matrix is zero throughout."""
    empty = zeroed(weights.matrices)
    return Check("weights_present", not empty, f"all zero: {', '.join(empty[:4])}" if empty else "")


def whole_file(path: Path) -> Check:
    """Every file of weights is there, and as long as its header says. Raises NotFound, ModelError for a header that is
    none."""
    try:
        short = [f"{name} lacks {missing:,} bytes" for name, missing in lacking_bytes(path) if missing]
    except IncompleteModel as error:
        short = [error.message]
    return Check("whole_file", not short, "; ".join(short))


def finite_weights(path: Path, seconds: float | None = None) -> Check:
    """No stored float and no scale is NaN or infinite. Reads every byte of GGUF files, of safetensors the floats.
    Raises OutOfTime where `seconds` (None: no limit) were not enough."""
    broken = infinite(path, seconds)
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    told = f"NaN or infinity in {', '.join(broken[:3])}{more}"
    return Check("finite_weights", not broken, told if broken else "")


def finite_predictions(engine: Engine, tokens: Sequence[int]) -> Check:
    """Over a short text, every prediction is a number, and no two possible next tokens are all alike."""
    import numpy as np

    (logits,) = engine.logits([tokens])
    if not (logits < np.inf).all():
        return Check("finite_predictions", False, "it predicts NaN or infinity")
    flat = int((logits.max(axis=-1) == logits.min(axis=-1)).sum())
    return Check("finite_predictions", flat == 0, f"{flat} of {len(tokens)} predictions are flat" if flat else "")


def stops(engine: LocalEngine) -> Check | None:
    """What closes an answer in the model's chat template is a token that ends generation, so that a chat can stop.
    None where there is no template (or it knows no answers)."""
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
    """Checks on what the model said: something, and not in circles."""
    empty = sum(not s.response.strip() for s in samples)
    circles = sum(loops(s.tokens) for s in samples)
    return [
        Check("speaks", empty == 0, f"{empty} of {len(samples)} answers are empty" if empty else ""),
        Check("no_loops", circles == 0, f"{circles} of {len(samples)} answers go in circles" if circles else ""),
    ]
