"""How far a conversion is from its model: the model as transformers runs it, against the 16-bit GGUF that was made of
it, before anything is quantized. What the converter or libllama gets wrong is in every file made from that GGUF, so no
comparison among GGUF files shows it.

Pure: windows, logits and a meter; knows no engine. The bound lies between the two things that were measured
(docs/measured/conversion.md): sound conversions of small models with sharp weights are at most 2e-6 nats a token away
as F16 and 1e-4 as BF16, which is llama.cpp's rounding of activations, and the smallest fault that was found is .0014.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lqmf.quality.receipt.divergence import DivergenceMeter
from lqmf.quality.receipt.exact_types import is_exact
from lqmf.quality.receipt.perplexity import blocks
from lqmf.records import to_json
from lqmf.settings import KL_NATS, by_bits
from lqmf.texts.windows import cut, first_scored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BOUND_NATS = 1e-3  # the greatest mean KL divergence of a conversion to 16 bits
WINDOWS, THOROUGH_WINDOWS = 2, 4
WINDOW_TOKENS = 512
_BEYOND = 1.5  # sliding windows long, so that a third of the positions lies beyond
_LOGITS_BYTES = 256 << 20  # of one model, that wait for the other's
_FEWEST_SCORED = 16
_NOISES = 10  # times the noise floor, which is measured on few tokens
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Batch:
    """Windows of the same length that are read at once; logits count from the position `first` on, but the last."""

    windows: tuple[tuple[int, ...], ...]
    first: int

    @property
    def tokens(self) -> int:
        """How many are read."""
        return len(self.windows) * len(self.windows[0])


def batch(tokens: Sequence[int], length: int, count: int, begin: int | None, vocabulary: int) -> Batch | None:
    """The first `count` windows of a text, scored as far as memory takes their logits; None where it is too short."""
    windows = cut(tokens[: length * count], length, begin)
    if not windows:
        return None
    return Batch(tuple(map(tuple, windows)), length - 1 - scored(length, len(windows), vocabulary))


def scored(length: int, count: int, vocabulary: int) -> int:
    """At how many positions of each of `count` windows of `length` tokens, the last ones, logits are compared."""
    most = _LOGITS_BYTES // (_FLOAT_BYTES * vocabulary * count)
    return max(_FEWEST_SCORED, min(length - 1 - first_scored(length), most))


def beyond(sliding_window: int | None, context_length: int) -> int | None:
    """The length of a window that shows whether a sliding window is kept to; None where no longer one than usual is
    needed, or the context does not hold it."""
    length = int(_BEYOND * sliding_window) if sliding_window else 0
    return length if WINDOW_TOKENS < length <= context_length else None


def limit_nats(base_type: str, noise_floor: float | None) -> float:
    """The bound for a GGUF of this type: one that is quantized itself may lose what its bits may, and one that differs
    from itself, as a mixture does whose router is near a tie, some times that noise."""
    bound = BOUND_NATS if is_exact(base_type) else by_bits(KL_NATS)[8]
    return max(bound, _NOISES * (noise_floor or 0.0))


@dataclass
class Conversion:
    """Add batches of logits; read the receipt's `conversion`."""

    _meter: DivergenceMeter = field(default_factory=DivergenceMeter)
    _largest_error: float = 0.0
    _windows: int = 0

    def add(self, read: Batch, source: NDArray[np.float32], base: Iterable[NDArray[np.float32]]) -> None:
        """Logits (N, V) of each of the B windows, by both, at the positions that count. Raises MeasurementError for
        what is no number."""
        import numpy as np

        for window, p, q in zip(read.windows, source, base, strict=True):
            self._meter.add(p, q, np.asarray(window[read.first + 1 :], dtype=np.int64))
            for part in blocks(*p.shape):
                both = np.isfinite(p[part]) & np.isfinite(q[part])
                apart = np.subtract(p[part], q[part], where=both, out=np.zeros_like(p[part]))
                self._largest_error = max(self._largest_error, float(np.abs(apart, out=apart).max()))
            self._windows += 1

    def told(self, noise_floor: float | None) -> dict[str, Any]:
        """{"kl_divergence", "top1_agreement", "largest_logit_error", "windows", "tokens_evaluated"}; `noise_floor` is
        what the GGUF's engine differs from itself, in nats a token."""
        return {
            "kl_divergence": to_json(dataclasses.replace(self._meter.divergence(), noise_floor=noise_floor)),
            "top1_agreement": self._meter.top1_agreement,
            "largest_logit_error": self._largest_error,
            "windows": self._windows,
            "tokens_evaluated": self._meter.tokens,
        }
