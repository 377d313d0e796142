"""The measuring of mixes on the running model: the divergence of its predictions on the text for choosing, and the
search for better variants of the best mix. Knows mixes and a model that can be spoilt; nothing of files."""

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
    """The measured divergences of mixes: each mix is measured once, over as many windows as the decision needs."""

    def __init__(self, spoiler: Spoiler, judge: Divergences, emit: Emit) -> None:
        self._spoiler, self._judge, self._emit = spoiler, judge, emit
        self._known: dict[tuple[tuple[str, str], ...], list[NDArray[np.float64]]] = {}

    @property
    def tried(self) -> int:
        return len(self._known)

    def divergences(self, mix: Mix, windows: int) -> NDArray[np.float64]:
        """Return the KL of each scored token of the first `windows` windows, in nats."""
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
        """Return whether `mix` is better than `than`, token by token, beyond the standard error of the difference. A
        mix that is worse over the first few windows is measured no further."""
        for windows in sorted({min(_GLANCE, self._judge.windows), self._judge.windows}):
            difference = self.divergences(than, windows) - self.divergences(mix, windows)
            if difference.mean() <= 0:
                return False
        return float(difference.mean()) > float(difference.std()) / math.sqrt(len(difference))


def refined(trial: Trial, start: Mix, costs: Costs, solve: Callable[[Costs], Mix], most: int) -> Mix:
    """Return the best mix found by changing the weights of types and roles in the costs, one at a time, the costliest
    first: each change swaps a handful of types at the same total size. Up to `most` mixes are measured; the better one
    of two is taken.

    Types come first: the effect of a type on all tensors alike (iq3_s makes weights 2 % larger, measured) adds up
    beyond the sum of single tensors.
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
    """Return the parts of a mix, the costliest first."""
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
