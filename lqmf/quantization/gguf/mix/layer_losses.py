"""The loss of each tensor of an artifact: how far the source's predictions move when that tensor alone is as in the
artifact. Worker only.

The tensors are the artifact's own, read back and put into the source in memory; in a large model, tensors of
neighbouring layers are put in together. Chooses nothing and writes no model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.errors import ModelError
from lqmf.events import Emit, stage
from lqmf.ggml import codec
from lqmf.ggml.base_file import BaseFile
from lqmf.quantization.gguf.mix.allocate import SMALL_MODEL, Effort, cut_windows
from lqmf.quantization.gguf.mix.patched_model import Divergences, PatchedModel
from lqmf.quantization.gguf.mix.sensitivity import grouped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THOROUGH = Effort(groups=400, windows=4, window_tokens=512, judged=4, variants=0)
QUICK = Effort(groups=40, windows=2, window_tokens=512, judged=2, variants=0)
_SLAB_ELEMENTS = 1 << 20


@dataclass(frozen=True)
class Loss:
    """The loss of one tensor: `kl_nats` in nats a token, with its standard error. `group` names the tensors measured
    together, this tensor included; each gets an equal part of the loss of the group."""

    name: str
    type: str
    kl_nats: float
    standard_error: float
    group: tuple[str, ...]


@dataclass(frozen=True)
class Losses:
    """The losses of all tensors whose type is not as in the source; `all_kl_nats` is their loss together, in nats a
    token over the same tokens."""

    tensors: tuple[Loss, ...]
    all_kl_nats: float
    windows: int
    window_tokens: int
    tokens_evaluated: int
    base: str  # the type of the source's file


def measure(
    artifact: Path, base: Path, text: Path, emit: Emit, *, effort: Effort | None = None, threads: int = 0
) -> Losses:
    """Return the losses of the GGUF at `artifact` against its source at `base`, over `text`. Raises ModelError where
    artifact and source do not belong together, UsageError for a text shorter than a window, DoesNotFit where memory
    does not hold the source."""
    donor, source = BaseFile(artifact), BaseFile(base)
    effort = effort or (THOROUGH if source.header.parameters <= SMALL_MODEL else QUICK)
    names = _changed(donor, source)
    with (
        stage(emit, "layers", "Measuring what each layer loses", "runs") as report,
        PatchedModel(base, threads=threads or None) as model,
    ):
        windows = cut_windows(model, text, effort)[: effort.windows]
        judge = Divergences(model, windows)
        groups = grouped(model.locate(names), effort.groups)
        found: list[Loss] = []
        for done, group in enumerate(groups):
            report(done, len(groups) + 1, group[0])
            found += _shared(group, donor, _spoilt(model, judge, donor, source, group))
        report(len(groups), len(groups) + 1, "all together")
        together = _spoilt(model, judge, donor, source, [name for group in groups for name in group])
    places = {name: place for place, name in enumerate(names)}
    ordered = tuple(sorted(found, key=lambda each: places[each.name]))
    return Losses(ordered, float(together.mean()), len(windows), len(windows[0]), len(together), source.header.type)


def _changed(donor: BaseFile, source: BaseFile) -> list[str]:
    """The tensors that are of another type than in the source. Raises ModelError where one is not in it."""
    names = []
    for name, tensor in donor.tensors.items():
        own = source.tensors.get(name)
        if own is None or own.shape != tensor.shape:
            raise ModelError(
                f"{donor.path.name} was not made from {source.path.name}: {name} is not in both alike.",
                "`lqmf verify NAME` checks the artifact; the source must be the one that it was made from.",
            )
        if tensor.type.lower() != own.type.lower():
            names.append(name)
    return names


def _spoilt(
    model: PatchedModel, judge: Divergences, donor: BaseFile, source: BaseFile, names: Sequence[str]
) -> NDArray[np.float64]:
    """The KL of each token, nats, with these tensors as in the artifact; the model is whole again afterwards."""
    import numpy as np

    for name in names:
        model.put(name, _as_in(donor, source, name))
    seen = np.concatenate(judge.each(0, judge.windows))
    for name in names:
        model.put(name, source.raw(name))
    return seen


def _as_in(donor: BaseFile, source: BaseFile, name: str) -> NDArray[np.uint8]:
    """The artifact's tensor read back, in the source's own type."""
    import numpy as np

    tensor, wanted = donor.tensors[name], source.tensors[name].type
    data, columns = donor.raw(name), tensor.shape[0]
    step = max(1, _SLAB_ELEMENTS // columns)
    slabs = (data[start : start + step] for start in range(0, len(data), step))
    return np.concatenate([codec.encode(codec.decode(slab, tensor.type, columns), wanted) for slab in slabs])


def _shared(group: Sequence[str], donor: BaseFile, seen: NDArray[np.float64]) -> list[Loss]:
    """The loss of each of a group: an equal part of what they lose together."""
    part = len(group)
    mean, error = float(seen.mean()) / part, float(seen.std()) / math.sqrt(max(1, len(seen) - 1)) / part
    return [Loss(name, donor.tensors[name].type, mean, error, tuple(group)) for name in group]


def document(losses: Losses, text: Mapping[str, str], engine: str) -> dict[str, Any]:
    """Return the losses as a JSON object, in the form that benchmarks/ keeps; a tensor measured alone names no
    group."""
    from lqmf.records import to_json

    told: dict[str, Any] = to_json(losses)
    for row in told["tensors"]:
        if len(row["group"]) == 1:
            del row["group"]
    return {**told, "text": dict(text), "engine": engine}
