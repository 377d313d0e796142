"""Mixes tried for real: what they do to the model's predictions on the text for choosing, and variants of the best
one for as long as they are better. Knows mixes and a model that can be spoilt; nothing of files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lqmf.events import Emit, Progress
from lqmf.quantization.gguf.mix.mixes import Costs, Mix
from lqmf.quantization.gguf.mix.patched_model import Divergences
from lqmf.quantization.gguf.mix.sensitivity import Spoiler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FACTORS = (1.6, 1 / 1.6)
_GLANCE = 4  # windows
_LAYER = re.compile(r"(?<=\.)\d+(?=\.)")


class Trial:
    """Measures each mix once, over as many windows as are needed to tell."""

    def __init__(self, spoiler: Spoiler, judge: Divergences, emit: Emit) -> None:
        self._spoiler, self._judge, self._emit = spoiler, judge, emit
        self._known: dict[tuple[tuple[str, str], ...], list[NDArray[np.float64]]] = {}

    @property
    def tried(self) -> int:
        return len(self._known)

    def divergences(self, mix: Mix, windows: int) -> NDArray[np.float64]:
        """The KL of each scored token of the first `windows` windows, nats."""
        import numpy as np

        known = self._known.setdefault(tuple(sorted(mix.items())), [])
        if len(known) < windows:
            self._emit(Progress(stage="allocate", done=self.tried, unit="mixes", note="trying a mix of types"))
            self._spoiler.apply(mix)
            known += self._judge.each(len(known), windows)
        return np.concatenate(known[:windows])

    def kl_nats(self, mix: Mix) -> float:
        return float(self.divergences(mix, self._judge.windows).mean())

    def better(self, mix: Mix, than: Mix) -> bool:
        """Whether `mix` is better, token by token, beyond the standard error of the difference. One that is worse over
        the first few windows is not looked at any further."""
        for windows in sorted({min(_GLANCE, self._judge.windows), self._judge.windows}):
            difference = self.divergences(than, windows) - self.divergences(mix, windows)
            if difference.mean() <= 0:
                return False
        return float(difference.mean()) > float(difference.std()) / math.sqrt(len(difference))


def refined(trial: Trial, start: Mix, costs: Costs, solve: Callable[[Costs], Mix], most: int) -> Mix:
    """The best mix found by weighing types and roles anew, one at a time, the costliest first: each weighing is a
    handful of swaps of the same total size. Up to `most` mixes are measured; the better one is taken.

    Types come first: what one does to all tensors alike (iq3_s makes weights 2 % larger, measured) adds up beyond the
    sum of single tensors.
    """
    best, weights, until = start, dict[str, float](), trial.tried + most
    improved = True
    while improved:
        improved = False
        for part in (*_shares(costs, best, _kind), *_shares(costs, best, _role)):
            for factor in _FACTORS:
                tried = {**weights, part: weights.get(part, 1.0) * factor}
                mix = solve(_weighed(costs, tried))
                if trial.tried >= until:
                    return best
                if mix != best and trial.better(mix, best):
                    best, weights, improved = mix, tried, True
                    break
    return best


def _shares(costs: Costs, mix: Mix, part: Callable[[str, str], str]) -> Sequence[str]:
    """The parts of a mix, what they cost falling."""
    total: dict[str, float] = {}
    for name, kind in mix.items():
        total[part(name, kind)] = total.get(part(name, kind), 0.0) + costs[name][kind]
    return sorted(total, key=lambda each: -total[each])


def _role(name: str, _kind: str) -> str:
    return _LAYER.sub("*", name)


def _kind(_name: str, kind: str) -> str:
    return kind


def _weighed(costs: Costs, weights: dict[str, float]) -> Costs:
    return {
        name: {
            kind: cost * weights.get(_role(name, kind), 1.0) * weights.get(kind, 1.0) for kind, cost in choices.items()
        }
        for name, choices in costs.items()
    }
