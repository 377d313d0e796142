"""The Backend promise: what every quantization method gives the rest of LQMF.

`check` and `estimate` run in the chat and import nothing heavy; `quantize` runs in the worker process only.
A backend is one module here (or an entry point in the group `lqmf.backends`) with a class that keeps this promise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lqmf.declared.methods import Method
from lqmf.events import Emit
from lqmf.fit.needs import Needs
from lqmf.quantization.parameters import Parameter
from lqmf.records import Estimate, Hardware, ModelInfo, QuantizationPlan, QuantType, Verdict


@dataclass(frozen=True)
class Source:
    """A model's files. `folder` holds configuration, tokenizer and the headers of its weights; the weights themselves
    lie in one of `weights` (empty: in `folder`), each file appearing there whole. With `consumed_dir`, the reader
    removes each file of weights when it is done with it, and leaves an empty file of the same name there first."""

    folder: Path
    weights: tuple[Path, ...] = ()
    consumed_dir: Path | None = None


@dataclass(frozen=True)
class Built:
    """What `quantize` left in the output folder. `files` are relative to it; `base` is what to measure against: a GGUF
    of the source that was made on the way and lies outside it, the source's own folder, or None. `versions` names the
    tools used; `imatrix`, `calibration`, `tensors` and `adapter` are the manifest's."""

    files: tuple[str, ...]
    versions: Mapping[str, str]
    base: str | None = None
    notes: tuple[str, ...] = ()
    imatrix: Mapping[str, Any] | None = None
    tensors: Mapping[str, str] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    adapter: Mapping[str, str] | None = None


class Backend(Protocol):
    """One quantization method. `name` is what the user types; `types` is in order of recommendation by bits. Where a
    type is no more than its bits, its name is "4bit", and a plan leaves it out."""

    declared: Method  # how it is said, shown and judged
    name: str
    title: str
    output_format: str  # "gguf", "safetensors", or what its own engine opens
    streams: bool  # whether it begins before all weights are there
    types: Mapping[str, QuantType]
    parameters: Mapping[str, Parameter]  # its own settings, which a plan's `parameters` hold

    def available(self) -> Verdict:
        """Whether what this backend needs is installed; a no names the exact install command."""
        ...

    def default_type(self, bits: int) -> str:
        """The recommended type for `bits`. Raises UsageError for bits it cannot do."""
        ...

    def check(self, model: ModelInfo, hardware: Hardware, type: str | None = None) -> Verdict:
        """Can this model become this, here? From metadata alone."""
        ...

    def estimate(
        self, model: ModelInfo, plan: QuantizationPlan, hardware: Hardware, needs: Needs | None = None
    ) -> Estimate:
        """What carrying out `plan` will cost. From metadata alone; with `needs`, sizes are exact."""
        ...

    def needs(self, model: ModelInfo, skeleton: Path, contexts: tuple[int, ...], parallel: int) -> Needs:
        """What running `model` takes as each type that this backend can make of it, for `parallel` chats.

        `skeleton` is a folder with the model's files whose weights may be holes (`lqmf.hub.skeleton`): headers are
        read, weights never. `contexts` are token counts that must be sampled exactly. May start child processes; kept
        by content, so that a second call takes milliseconds. Raises LqmfError.
        """
        ...

    def vet(self, plan: QuantizationPlan, model: ModelInfo, skeleton: Path) -> None:
        """Refuse, before any work, what is wrong with the files, sizes and names that `plan` says. Raises LqmfError."""
        ...

    def quantize(
        self,
        plan: QuantizationPlan,
        source: Source,
        out: Path,
        work: Path,
        emit: Emit,
        later_plans: Sequence[QuantizationPlan] = (),
    ) -> Built:
        """Write the artifact's weights, tokenizer and config into the empty folder `out` (worker only).

        `work` is for what is made on the way. It is this model's own, outlives a worker that dies, and is there again
        when the same is asked once more: what it holds need not be redone. `later_plans` are plans for the same model:
        what serves them too may be made now. Emits StageStarted, Progress and StageFinished. Raises LqmfError.
        """
        ...
