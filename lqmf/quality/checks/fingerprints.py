"""Checks whether an artifact's tensors are its source's: equal names and shapes, and values equal within rounding.

A sample of each tensor is compared with the source's tensor of that name. Weights rounded to two bits still correlate
with their source at .9; those of another layer correlate at 0. Knows samples of weights; no engine, no type and no
quality.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from lqmf.quality.checks.tensors import Shape, Tensors
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
_BUFFER = re.compile(r"(?:^|\.)(?:inv_freq|masked_bias|position_ids|(?:attn|attention)\.bias)$")  # computed anew by all
_HEAD = re.compile(r"^(?:cls|lm_head|pooler)\.")  # a model without it is saved without


@dataclass(frozen=True)
class Found:
    """The differences between an artifact's tensors and its source's. `misplaced` maps a tensor to the source's tensor
    whose values it holds; `elsewhere` names source tensors that the artifact may hold under names of its own."""

    lacking: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    strange: Mapping[str, str] = field(default_factory=dict)  # name: how
    misplaced: Mapping[str, str] = field(default_factory=dict)
    compared: int = 0
    elsewhere: tuple[str, ...] = ()

    @property
    def alien(self) -> bool:
        """Tell whether most tensors are not the source's: the artifact is another model, rather than a damaged one."""
        wrong = len(self.lacking) + len(self.reshaped) + len(self.strange)
        return wrong > (wrong + self.compared - len(self.strange)) / 2

    def checks(self) -> list[Check]:
        """Return the checks `source_weights` (every tensor of the source is there, with its values) and `layer_order`
        (no tensor holds the values of another layer). Where some tensors are stored under other names, a check that
        would pass is left out: see `reason`."""
        told = [
            _told(self.lacking, "not there"),
            _told(self.reshaped, "of another shape"),
            _told([f"{name} {how}" for name, how in self.strange.items()], ""),
        ]
        wrong = "; ".join(one for one in told if one)
        moved = _told([f"{name} holds the source's {other}" for name, other in self.misplaced.items()], "")
        found = [
            Check("source_weights", not wrong, wrong or f"{self.compared} tensors"),
            Check("layer_order", not moved, moved),
        ]
        return [check for check in found if not (check.passed and self.elsewhere)]

    @property
    def reason(self) -> str:
        """Return why a check is left out; empty if no tensor is stored under another name."""
        return _told(self.elsewhere, "stored under other names")


def compare(artifact: Tensors, source: Tensors, *, folders: bool = False) -> Found:
    """Compare each tensor of `source` with the artifact's tensor of that name, and return the differences. `folders`:
    the names come from the libraries that wrote the folders and may differ; otherwise they are the file format's
    own."""
    if folders:
        source = _aligned(artifact, source)
    held = [name for name in source.shapes if not (folders and _BUFFER.search(name))]
    wanted = [name for name in held if name not in _OPTIONAL]
    lacking = [name for name in wanted if name not in artifact.shapes]
    elsewhere: list[str] = []
    if folders:
        lacking = [name for name in lacking if not (_HEAD.match(name) or _repeated(name, artifact, source))]
        elsewhere = _elsewhere(lacking, artifact, source)
    reshaped = tuple(name for name in wanted if name in artifact.shapes and not _fits(name, artifact, source))
    common = [name for name in held if name in artifact.shapes and _fits(name, artifact, source)]
    strange = {name: how for name in common if (how := _difference(name, artifact, name, source))}
    misplaced = dict(_misplaced(list(strange)[:_MOST_SOUGHT], artifact, source)) if strange else {}
    left = {name: how for name, how in strange.items() if name not in misplaced}
    gone = tuple(name for name in lacking if name not in elsewhere)
    return Found(gone, reshaped, left, misplaced, len(common), tuple(elsewhere))


# ---------------------------------------------------------------- names


class _Renamed:
    """Tensors under other names: `names` maps each new name to the stored one."""

    def __init__(self, tensors: Tensors, names: Mapping[str, str]) -> None:
        self._tensors, self._names = tensors, names
        self.unread = tensors.unread
        self.shapes: Mapping[str, Shape] = {name: tensors.shapes[own] for name, own in names.items()}

    def rows(self, name: str, places: NDArray[np.int64], columns: int) -> NDArray[np.float32]:
        return self._tensors.rows(self._names[name], places, columns)


def _aligned(artifact: Tensors, source: Tensors) -> Tensors:
    """Return `source` with the artifact's names, where only the first word differs ("transformer." of a GPT-2)."""

    def matched(names: Iterable[str]) -> int:
        return sum(name in artifact.shapes and name not in _OPTIONAL for name in names)

    ways = [{name: name for name in source.shapes}]
    ways += [{f"{word}.{name}": name for name in source.shapes} for word in _first_words(artifact)]
    ways += [{name.removeprefix(f"{word}."): name for name in source.shapes} for word in _first_words(source)]
    best = max(ways, key=matched)
    return source if best is ways[0] else _Renamed(source, best)


def _first_words(tensors: Tensors) -> list[str]:
    return sorted({name.partition(".")[0] for name in tensors.shapes if name not in _OPTIONAL})


def _repeated(name: str, artifact: Tensors, source: Tensors) -> bool:
    """Whether the source's matrix `name` repeats another matrix that the artifact has, as tied embeddings do."""
    import numpy as np

    shape = source.shapes[name]
    if shape[0] == 1 or not (own := _sample(source, name)).std() > 0:
        return False
    others = (other for other in source.shapes if source.shapes[other] == shape and other in artifact.shapes)
    return any(np.array_equal(own, _sample(source, other)) for other in others)


def _elsewhere(lacking: list[str], artifact: Tensors, source: Tensors) -> list[str]:
    """The tensors of `lacking` for which the artifact has as many weights under names that the source does not know:
    tensors that are fused in one of the two models and split in the other."""
    known = {*source.shapes, *_OPTIONAL}
    more = [name for name in artifact.shapes if name not in known and not _BUFFER.search(name)]
    more = [name for name in more if f"{name.removesuffix('.bias')}.weight" not in known]  # a bias that was added
    found: list[str] = []
    for of_kind in (lambda shape: True, _is_matrix, _is_vector):  # all of them, else what is not short of some
        sought = [name for name in lacking if of_kind(source.shapes[name])]
        there = sum(prod(artifact.shapes[name]) for name in more if of_kind(artifact.shapes[name]))
        if sum(prod(source.shapes[name]) for name in sought) <= there:
            found += [name for name in sought if name not in found]
    return found


def _is_vector(shape: Shape) -> bool:
    return shape[0] == 1


def _is_matrix(shape: Shape) -> bool:
    return shape[0] != 1


# ---------------------------------------------------------------- values


def _fits(name: str, artifact: Tensors, source: Tensors) -> bool:
    return artifact.shapes[name] == source.shapes[name]


def _misplaced(names: list[str], artifact: Tensors, source: Tensors) -> Iterator[tuple[str, str]]:
    """Yield (name, other) for each tensor of `names` in the artifact that holds the values of the source's tensor
    `other` of another layer."""
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
    if not prod(source.shapes[other]):
        return ""
    return how(_sample(artifact, name), _sample(source, other), vector=_is_vector(source.shapes[other]))


def _sample(tensors: Tensors, name: str) -> NDArray[np.float64]:
    """The beginnings of a tensor's first and last rows."""
    import numpy as np

    rows, columns = tensors.shapes[name]
    places = np.unique(np.concatenate([np.arange(min(_RUN, rows)), np.arange(max(0, rows - _RUN), rows)]))
    return tensors.rows(name, places, min(columns, _COLUMNS)).astype(np.float64)


def how(ours: NDArray[np.float64], theirs: NDArray[np.float64], *, vector: bool) -> str:
    """Return in words how the weights `ours` differ from the source's `theirs` beyond rounding; empty where they do
    not."""
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
    """Up to three names, the number of further names, and `what` is wrong with them."""
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}" + (f": {what}" if what else "")
