"""Decides how an artifact is made: whether an importance matrix guides it, and which GGUF is made on the way to
calibrate on and to measure against. Part of the Planner.

Pure; knows the request, the model's sizes and the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lqmf.errors import DoesNotFit, UsageError
from lqmf.model_files.gguf_types import AUTO
from lqmf.model_files.model_kind import model_kind
from lqmf.records import Choice, ModelInfo, QuantType, Source
from lqmf.units import file_size, memory_size

if TYPE_CHECKING:
    from lqmf.fit.needs import Needs
    from lqmf.planning.request import PlanRequest

HELPED_BITS = 4  # types of more bits lose too little for a matrix to show
IMATRIX_SUFFIXES = (".gguf", ".dat")  # a calibration that is a finished matrix, not a text
RAM_SHARE = 0.8  # of the free RAM that a model may take while it is calibrated on

Base = Literal["F16", "Q8_0"]


@dataclass(frozen=True)
class Recipe:
    """The way to make an artifact. `base` is the type of the GGUF that is made on the way, None for none; `base_bytes`
    its size."""

    imatrix: Choice
    base: Base | None
    base_bytes: int
    base_reason: str

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Return the recipe's choices as a plan shows them."""
        if self.base is None:
            return (self.imatrix, Choice("base", "none", self.base_reason))
        return (self.imatrix, Choice("base", self.base, f"{file_size(self.base_bytes)} on the way; {self.base_reason}"))


def choose_recipe(request: PlanRequest, kind: QuantType, needs: Needs | None, *, test: str, keep_16bit: bool) -> Recipe:
    """Choose how to make the type `kind`. `needs` is None for a method without such files. Raises UsageError for wishes
    that exclude each other, DoesNotFit where calibration is needed but the source cannot be run in the free memory."""
    if needs is None or "F16" not in needs.weights:
        return Recipe(Choice("imatrix", False, "this method has none"), None, 0, "none is needed")
    guided, reason, source = _imatrix(request, kind)
    if request.said.discard_source:
        return _discarding(request, kind, Choice("imatrix", guided, reason, source))
    wanted = [
        *(["to calibrate on"] if guided and not is_matrix(request.said.calibration) else []),
        *(["to choose the types by"] if kind.name == AUTO else []),
        *(["to measure against"] if test != "none" else []),
        *(["kept, as you said"] if keep_16bit else []),
    ]
    if not wanted:
        return Recipe(Choice("imatrix", guided, reason, source), None, 0, "nothing is measured")
    base, why_not = _base(request, needs, keep_16bit=keep_16bit)
    if base is None:
        return _without(request, kind, guided, why_not)
    size = needs.weights[base].file_bytes
    return Recipe(Choice("imatrix", guided, reason, source), base, size, f"{', '.join(wanted)}{why_not}")


def is_matrix(calibration: str | None) -> bool:
    """Return whether a calibration is a finished importance matrix."""
    return bool(calibration) and str(calibration).lower().endswith(IMATRIX_SUFFIXES)


def calibratable(request: PlanRequest, needs: Needs | None) -> bool:
    """Return whether there can be an importance matrix, so that types which need one may be offered."""
    if request.said.imatrix is False or needs is None or _answers(request):
        return False
    if is_matrix(request.said.calibration):
        return True
    return not request.said.discard_source and _base(request, needs, keep_16bit=False)[0] is not None


def largest_neighbours(info: ModelInfo) -> int:
    """Return the most bytes of a download that lie on the disk at once when each file of weights is deleted after it is
    read: the file being read, the next file arriving, and the small files."""
    shards = [file.size_bytes for file in info.files if file.path.endswith(".safetensors")]
    pairs = zip(shards, [*shards[1:], 0], strict=True)
    return sum(file.size_bytes for file in info.files) - sum(shards) + max((a + b for a, b in pairs), default=0)


def _imatrix(request: PlanRequest, kind: QuantType) -> tuple[bool, str, Source]:
    said, text = request.said.imatrix, request.said.calibration
    if said is False and kind.needs_imatrix:
        raise UsageError(f"{kind.name} cannot be made without an importance matrix.", "Leave out --no-imatrix.")
    if said is False and text:
        raise UsageError("--no-imatrix and --calibration exclude each other.", "Leave out one of them.")
    if _answers(request):
        return _unguided(request, kind)
    if said is not None:
        return bool(said), "as you said", "user"
    if text:
        return True, f"from {text if str(text).startswith('hub:') else Path(text).name}", "user"
    if kind.name == AUTO:
        return True, "the choice of types rests on it; from the built-in text", "rules"
    if kind.bits > HELPED_BITS:
        return False, f"{kind.name} loses too little for it to help", "rules"
    if not kind.general and not kind.needs_imatrix:
        return False, f"{kind.name} does not use it", "rules"
    return True, f"it lowers the loss of types up to {HELPED_BITS} bits; from the built-in text", "rules"


def _answers(request: PlanRequest) -> bool:
    """Return whether the model is an encoder-decoder: no importance matrix is collected from its two halves."""
    info = request.info
    return model_kind(info.architecture, info.model_type, info.config) == "encoder-decoder"


def _unguided(request: PlanRequest, wanted: QuantType) -> tuple[bool, str, Source]:
    """Return the choice of no matrix for an encoder-decoder. Raises UsageError where a matrix was said, or is
    needed."""
    why = "none is collected from an encoder-decoder"
    if wanted.needs_imatrix or request.said.imatrix or request.said.calibration:
        remedy = "Say a type like Q4_K_M, with --no-imatrix."
        raise UsageError(f"{wanted.name} with an importance matrix: {why}.", remedy)
    return False, why, "rules"


def _discarding(request: PlanRequest, kind: QuantType, imatrix: Choice) -> Recipe:
    """Return the recipe without calibration and comparison: the source is deleted as it is read. Raises UsageError
    where a matrix is needed."""
    reason = "the source is discarded as it is read, so the receipt compares with nothing"
    given = is_matrix(request.said.calibration)
    if imatrix.value and not given:
        if kind.name == AUTO or kind.needs_imatrix or imatrix.source == "user":
            raise UsageError(
                f"{kind.name} with an importance matrix reads the source twice, and --discard-source keeps none of it.",
                "Leave out --discard-source, or give a finished matrix: --calibration FILE.gguf",
            )
        imatrix = Choice("imatrix", False, "it needs the source twice; without --discard-source it is made")
    return Recipe(imatrix, None, 0, reason)


def _base(request: PlanRequest, needs: Needs, *, keep_16bit: bool) -> tuple[Base | None, str]:
    """Return (type, note for the reason) of the best source that can be run within the free memory, or (None, why there
    is none)."""
    room = int(request.hardware.ram_available_bytes * RAM_SHARE)
    sizes = {name: needs.weights[name].file_bytes for name in ("F16", "Q8_0") if name in needs.weights}
    if keep_16bit or sizes["F16"] <= room:
        return "F16", ""
    if sizes.get("Q8_0", room + 1) <= room:
        return "Q8_0", f"; 16 bits would take {memory_size(sizes['F16'])} of memory, and {memory_size(room)} are free"
    least = min(sizes.values())
    return None, f"running the source needs {memory_size(least)} of memory, and {memory_size(room)} are free"


def _without(request: PlanRequest, kind: QuantType, guided: bool, why_not: str) -> Recipe:
    given = is_matrix(request.said.calibration)
    if kind.name == AUTO or ((kind.needs_imatrix or request.said.imatrix) and not given):
        raise DoesNotFit(f"{kind.name} cannot be made here: {why_not}.", "Say a type like Q4_K_M, with --no-imatrix.")
    reason = f"from {request.said.calibration}" if given else why_not
    return Recipe(Choice("imatrix", guided and given, reason), None, 0, f"{why_not}; quality is not measured")
