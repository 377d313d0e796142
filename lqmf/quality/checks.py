"""What must hold for any working model, whatever its quality. Knows an engine, samples and GGUF headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lqmf.inference.gguf_header import GgufHeader
from lqmf.quality.samples import Sample, loops
from lqmf.quality.weights import zeroed_tensors
from lqmf.records import Check

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray


class Predictor(Protocol):
    """The part of an engine that gives logits from position `first` of each window on: (T - first, V) float32."""

    def logits(self, windows: Iterable[Sequence[int]], *, first: int = 0) -> Iterator[NDArray[np.float32]]: ...


def weights_present(headers: Sequence[GgufHeader]) -> Check:
    """No weight matrix is zero throughout."""
    empty = [name for header in headers for name in zeroed_tensors(header)]
    return Check("weights_present", not empty, f"all zero: {', '.join(empty[:4])}" if empty else "")


def finite_predictions(engine: Predictor, tokens: Sequence[int]) -> Check:
    """Over a short text, every prediction is a number, and no two possible next tokens are all alike."""
    import numpy as np

    (logits,) = engine.logits([tokens])
    if not (logits < np.inf).all():
        return Check("finite_predictions", False, "it predicts NaN or infinity")
    flat = int((logits.max(axis=-1) == logits.min(axis=-1)).sum())
    return Check("finite_predictions", flat == 0, f"{flat} of {len(tokens)} predictions are flat" if flat else "")


def answers(samples: Sequence[Sample]) -> list[Check]:
    """Checks on what the model said: something, not in circles, and, in a chat, with an end."""
    empty = sum(not s.response.strip() for s in samples)
    circles = sum(loops(s.tokens) for s in samples)
    found = [
        Check("speaks", empty == 0, f"{empty} of {len(samples)} answers are empty" if empty else ""),
        Check("no_loops", circles == 0, f"{circles} of {len(samples)} answers go in circles" if circles else ""),
    ]
    if any(s.through_template for s in samples):
        ended = sum(s.ended for s in samples)
        found.append(Check("stops", ended > 0, f"{ended} of {len(samples)} answers ended by themselves"))
    return found
