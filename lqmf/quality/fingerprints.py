"""Whether an artifact's tensors are its source's: the same names, shapes and, within what rounding changes, values.

A sample of each tensor is held beside the source's of the same name. Weights rounded to two bits still correlate with
their source at .9; another layer's do at 0. Knows samples of weights; no engine, no type and no quality.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lqmf.quality.tensors import Tensors
from lqmf.records import Check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_CORRELATION = 0.5  # IQ1_S, the coarsest type, keeps above .8
SCALE = (0.5, 2.0)  # of the artifact's weights against the source's
VECTOR_DIFFERENCE = 0.05  # vectors (norms, biases) are not quantized: 8 bits of mantissa are the least they keep
_RUN, _COLUMNS = 8, 1024  # rows at either end of a matrix, and their first weights: 64 KB of floats at most
_FEW = 64  # weights: below that a correlation says little
_MOST_SOUGHT = 24  # tensors whose right place is looked for
_LAYER = re.compile(r"(?<=\.)\d+(?=\.)")
_OPTIONAL = ("output.weight", "lm_head.weight", "rope_freqs.weight")  # repeated or left out where they say nothing new


@dataclass(frozen=True)
class Found:
    """What differs. `misplaced` maps a tensor to the one of the source whose values it holds."""

    lacking: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    strange: Mapping[str, str] = field(default_factory=dict)  # name: how
    misplaced: Mapping[str, str] = field(default_factory=dict)
    compared: int = 0

    @property
    def alien(self) -> bool:
        """Whether most of it is not the source's: another model, rather than a damaged one."""
        wrong = len(self.lacking) + len(self.reshaped) + len(self.strange)
        return wrong > (wrong + self.compared - len(self.strange)) / 2

    def checks(self) -> list[Check]:
        """`source_weights`: every tensor of the source is there, with its values. `layer_order`: none holds those of
        another layer."""
        told = [
            _told(self.lacking, "not there"),
            _told(self.reshaped, "of another shape"),
            _told([f"{name} {how}" for name, how in self.strange.items()], ""),
        ]
        wrong = "; ".join(one for one in told if one)
        moved = _told([f"{name} holds the source's {other}" for name, other in self.misplaced.items()], "")
        return [
            Check("source_weights", not wrong, wrong or f"{self.compared} tensors"),
            Check("layer_order", not moved, moved),
        ]


def compare(artifact: Tensors, source: Tensors) -> Found:
    """Hold each tensor of `source` beside the artifact's of the same name."""
    wanted = {name: shape for name, shape in source.shapes.items() if name not in _OPTIONAL}
    lacking = tuple(name for name in wanted if name not in artifact.shapes)
    reshaped = tuple(name for name in wanted if name in artifact.shapes and not _fits(name, artifact, source))
    common = [name for name in source.shapes if name in artifact.shapes and _fits(name, artifact, source)]
    strange = {name: how for name in common if (how := _difference(name, artifact, name, source))}
    misplaced = dict(_misplaced(list(strange)[:_MOST_SOUGHT], artifact, source)) if strange else {}
    left = {name: how for name, how in strange.items() if name not in misplaced}
    return Found(lacking, reshaped, left, misplaced, len(common))


def _fits(name: str, artifact: Tensors, source: Tensors) -> bool:
    return artifact.shapes[name] == source.shapes[name]


def _misplaced(names: list[str], artifact: Tensors, source: Tensors) -> Iterator[tuple[str, str]]:
    """Of the artifact's tensors `names`, those that hold what the source has in another layer."""
    for name in names:
        shape = source.shapes[name]
        kind = _LAYER.sub("*", name, count=1)
        others = (o for o in source.shapes if o != name and _LAYER.sub("*", o, count=1) == kind)
        for other in others:
            if source.shapes[other] == shape and not _difference(name, artifact, other, source):
                yield name, other
                break


def _difference(name: str, artifact: Tensors, other: str, source: Tensors) -> str:
    """How the artifact's tensor `name` differs from the source's `other`; empty where it does not."""
    import numpy as np

    rows, columns = source.shapes[other]
    if not rows * columns:
        return ""
    places = np.unique(np.concatenate([np.arange(min(_RUN, rows)), np.arange(max(0, rows - _RUN), rows)]))
    width = min(columns, _COLUMNS)
    ours, theirs = artifact.rows(name, places, width), source.rows(other, places, width)
    return how(ours.astype(np.float64), theirs.astype(np.float64), vector=rows == 1)


def how(ours: NDArray[np.float64], theirs: NDArray[np.float64], *, vector: bool) -> str:
    """How weights differ from the source's beyond rounding, in words; empty where they do not."""
    import numpy as np

    if not np.isfinite(ours).all():
        return "holds NaN or infinity"
    size = float(np.sqrt(np.mean(theirs**2)))
    if size == 0 or not ours.any():
        return "" if not ours.any() and size == 0 else "is zero" if size else "is not zero as the source's"
    if vector or theirs.size < _FEW or float(theirs.std()) < 1e-3 * size:
        apart = float(np.sqrt(np.mean((ours - theirs) ** 2))) / size
        return "" if apart <= VECTOR_DIFFERENCE else f"differs from the source's by {apart:.0%}"
    return _of_matrix(ours.ravel(), theirs.ravel())


def _of_matrix(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> str:
    import numpy as np

    spread = float(ours.std())
    likeness = float(np.corrcoef(ours, theirs)[0, 1]) if spread > 0 else 0.0
    if likeness < LEAST_CORRELATION:
        return f"is not the source's (correlation {likeness:.2f})"
    scale = likeness * spread / float(theirs.std())
    return "" if SCALE[0] <= scale <= SCALE[1] else f"is {scale:.2g} times the source's"


def _told(names: tuple[str, ...] | list[str], what: str) -> str:
    """A few names, how many more there are, and what is with them."""
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}" + (f": {what}" if what else "")
