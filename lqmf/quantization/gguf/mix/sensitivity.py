"""The divergence that a unit of a tensor's error causes: measured by spoiling a few tensors at a time.

Tensors are spoilt alone, or in groups of one role and neighbouring layers, which share the measured divergence by their
weighed errors: within a role a unit of error costs much the same in all layers but the first and the last, which stand
alone for as long as the number of runs allows. Divergences add up over tensors, so these numbers predict any mix. Knows
nothing of sizes and choices.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from lqmf import workspace
from lqmf.events import Emit, Progress
from lqmf.ggml import codec, library
from lqmf.ggml.base_file import BaseFile
from lqmf.model_files.imatrix_file import Imatrix
from lqmf.quantization.gguf.mix.errors_table import Errors, importance
from lqmf.quantization.gguf.mix.patched_model import Divergences, PatchedModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROBES = ("q3_K", "q4_0")  # the first that fits a tensor's rows spoils it
_LAYER = re.compile(r"(?<=\.)(\d+)(?=\.)")
_SLAB_ELEMENTS = 1 << 20
_REMEMBERED_BYTES = 256 << 20
_FORMAT = 1


class Spoiler:
    """A writer of the model's tensors: as they would be after quantizing, or as they were."""

    def __init__(self, base: BaseFile, imatrix: Imatrix | None, model: PatchedModel, threads: int = 0) -> None:
        self._base, self._imatrix, self._model = base, imatrix, model
        self._pool = ThreadPoolExecutor(threads or library.threads())
        self._now: dict[str, str] = {}
        self._made: OrderedDict[tuple[str, str], NDArray[np.uint8]] = OrderedDict()  # the latest last

    def locate(self, names: Sequence[str]) -> list[str]:
        """Find these tensors in memory, and return the names of those that the model uses."""
        return self._model.locate(names)

    def apply(self, types: Mapping[str, str]) -> None:
        """Change the model's tensors to these types; every tensor not named becomes as in the base."""
        for name in {*self._now, *types}:
            own = self._base.tensors[name].type.lower()
            wanted = types.get(name, own).lower()
            if wanted != self._now.get(name, own):
                self._model.put(name, self._base.raw(name) if wanted == own else self._remembered(name, wanted))
                self._now[name] = wanted

    def _remembered(self, name: str, kind: str) -> NDArray[np.uint8]:
        """Return the spoilt tensor, kept from before as far as there is room: variants of a mix have most tensors in
        common."""
        made = self._made.pop((name, kind), None)
        self._made[name, kind] = made = self._spoilt(name, kind) if made is None else made
        while sum(each.nbytes for each in self._made.values()) > _REMEMBERED_BYTES:
            self._made.popitem(last=False)
        return made

    def _spoilt(self, name: str, kind: str) -> NDArray[np.uint8]:
        """The tensor quantized and read back, in the base's own type."""
        import numpy as np

        tensor, weigh = self._base.tensors[name], importance(self._base, self._imatrix, name)
        columns, rows = tensor.shape[0], tensor.shape[1]
        step = max(1, _SLAB_ELEMENTS // columns)
        slabs = [
            (matrix, slice(start, min(start + step, rows)))
            for matrix in range(self._base.matrices(name))
            for start in range(0, rows, step)
        ]

        def slab(place: tuple[int, slice]) -> NDArray[np.uint8]:
            weights = None if weigh is None else weigh[place[0]]
            read = codec.decode(codec.encode(self._base.rows(name, *place), kind, weights), kind, columns)
            return codec.encode(read, tensor.type)

        return np.concatenate(list(self._pool.map(slab, slabs)))


def grouped(names: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Return the tensors in at most `most` groups, if there are no more roles than that: tensors of one role and
    neighbouring layers, the first layer and the last alone."""
    roles: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in names:
        layer = _LAYER.search(name)
        roles[_LAYER.sub("*", name)].append((int(layer[1]) if layer else -1, name))
    for parts in range(max((len(members) for members in roles.values()), default=1), 0, -1):
        made = [group for members in roles.values() for group in _parted([name for _, name in sorted(members)], parts)]
        if len(made) <= most or parts == 1:
            return made
    return []


def _parted(names: Sequence[str], parts: int) -> list[tuple[str, ...]]:
    if len(names) <= parts:
        return [(name,) for name in names]
    head, tail = int(parts > 1), int(parts > 2)
    middle, count = names[head : len(names) - tail], max(1, parts - head - tail)
    cuts = [len(middle) * place // count for place in range(count + 1)]
    inner = [tuple(middle[start:end]) for start, end in pairwise(cuts)]
    return [*(tuple(names[:1]),) * head, *inner, *(tuple(names[-1:]),) * tail]


def measure(
    spoiler: Spoiler,
    judge: Divergences,
    windows: int,
    groups: Sequence[Sequence[str]],
    errors: Errors,
    emit: Emit,
) -> dict[str, float]:
    """Return the nats a token that a unit of error costs, for each tensor of the groups: one run over the first
    `windows` windows for each group."""
    import numpy as np

    found: dict[str, float] = {}
    for done, group in enumerate(groups):
        note = group[0] if len(group) == 1 else f"{group[0]} and {len(group) - 1} more"
        emit(Progress(stage="allocate", done=done, total=len(groups), unit="runs", note=f"spoiling {note}"))
        probes = {name: _probe(errors[name]) for name in group}
        spoiler.apply(probes)
        spoilt = sum(errors[name][probe] for name, probe in probes.items())
        seen = float(np.concatenate(judge.each(0, windows)).mean())
        cost = seen / spoilt if spoilt > 0 else 0.0
        found |= dict.fromkeys(group, cost)
    spoiler.apply({})
    return found


def _probe(choices: Mapping[str, float]) -> str:
    """Return the type to spoil a tensor with: the first of PROBES that it may take, else its first choice (such as a
    fixed type)."""
    return next((probe for probe in PROBES if probe in choices), next(iter(choices)))


# ---------------------------------------------------------------- kept


def place(groups: Sequence[Sequence[str]], errors: Errors, source: str, windows: int) -> Path:
    """Return the path at which to keep the sensitivities: named by the errors (and so by the weights and the imatrix),
    by the predictions of the `source` model, and by the way of measuring."""
    probes = [[(name, _probe(errors[name]), errors[name][_probe(errors[name])]) for name in group] for group in groups]
    seen = hashlib.sha256(repr((_FORMAT, library.installed_version(), probes, source, windows)).encode()).hexdigest()
    return workspace.measured_dir() / "sensitivities" / f"{seen[:40]}.json"


def recall(place: Path) -> dict[str, float] | None:
    """Return the sensitivities that were kept at `place`; None if there is no sound file."""
    found = workspace.kept_json(place)
    return found if found and all(isinstance(cost, float) for cost in found.values()) else None


def keep(place: Path, found: Mapping[str, float]) -> None:
    """Write the sensitivities to `place`, for the other sizes of the same model."""
    workspace.keep_json(place, found)
