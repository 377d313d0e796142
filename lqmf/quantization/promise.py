"""The Backend promise: the attributes and methods that every quantization method gives the rest of LQMF.

`check` and `estimate` run in the chat and import nothing heavy; `quantize` runs in the worker process only. A backend
is one module here (or an entry point in the group `lqmf.backends`) with a class that keeps this promise.
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
    lie in one of the folders `weights` (empty: in `folder`), where each file appears whole. With `consumed_dir`, the
    reader removes each file of weights when it needs it no more, and first leaves an empty file of the same name in
    `consumed_dir`."""

    folder: Path
    weights: tuple[Path, ...] = ()
    consumed_dir: Path | None = None


@dataclass(frozen=True)
class Built:
    """The result of `quantize` in the output folder. `files` are relative to it; `base` is the model to compare the
    artifact with: a GGUF of the source that was made on the way and lies outside the output folder, the source's own
    folder, or None. `versions` names the tools used; `imatrix`, `calibration`, `tensors` and `adapter` go into the
    manifest."""

    files: tuple[str, ...]
    versions: Mapping[str, str]
    base: str | None = None
    notes: tuple[str, ...] = ()
    imatrix: Mapping[str, Any] | None = None
    tensors: Mapping[str, str] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    adapter: Mapping[str, str] | None = None


class Backend(Protocol):
    """One quantization method. `name` is what the user types; `types` is in order of recommendation by bits. A type
    that is nothing but a number of bits is called "4bit", and a plan does not name it."""

    declared: Method  # how it is said, shown and judged
    name: str
    title: str
    output_format: str  # "gguf", "safetensors", or what its own engine opens
    streams: bool  # whether it begins before all weights are there
    types: Mapping[str, QuantType]
    parameters: Mapping[str, Parameter]  # its own settings, which a plan's `parameters` hold

    def available(self) -> Verdict:
        """Return whether the packages and tools that this backend needs are installed; a no names the exact install
        command."""
        ...

    def default_type(self, bits: int) -> str:
        """Return the recommended type of `bits` bits. Raises UsageError if the backend has no type of so many bits."""
        ...

    def check(self, model: ModelInfo, hardware: Hardware, type: str | None = None) -> Verdict:
        """Return whether `model` can be quantized to `type` (None: to some type) on `hardware`, from metadata alone.
        Raises UsageError for a type that the backend does not have."""
        ...

    def estimate(
        self, model: ModelInfo, plan: QuantizationPlan, hardware: Hardware, needs: Needs | None = None
    ) -> Estimate:
        """Return the size, disk and memory in bytes and the time in seconds that carrying out `plan` takes, from
        metadata alone. With `needs`, sizes are exact."""
        ...

    def needs(self, model: ModelInfo, skeleton: Path, contexts: tuple[int, ...], parallel: int) -> Needs:
        """Return the sizes and the memory of `model` as each type that this backend can make of it, for `parallel`
        chats.

        `skeleton` is a folder with the model's files whose weights may be holes (`lqmf.hub.skeleton`): headers are
        read, weights never. `contexts` are token counts that must be sampled exactly. May start child processes. The
        result is kept by content, so that a second call takes milliseconds. Raises LqmfError.
        """
        ...

    def vet(self, plan: QuantizationPlan, model: ModelInfo, skeleton: Path) -> None:
        """Refuse, before any work, files, sizes and names in `plan` that cannot be used. Raises LqmfError."""
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

        `work` is a folder for files made on the way. It belongs to this model alone, outlives a worker that dies, and
        is there again when the same model is asked for once more: the files in it need not be made again. `later_plans`
        are plans for the same model: files for them may be made now. Emits StageStarted, Progress and StageFinished.
        Raises LqmfError.
        """
        ...
