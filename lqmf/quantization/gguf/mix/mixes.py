"""The mixes of types that a model's file may have: what each tensor may take, llama.cpp's own mixes among them, what
a mix weighs and is predicted to cost, and the cheapest of a size. Knows nothing of running the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from lqmf.errors import UsageError
from lqmf.ggml.base_file import BaseFile
from lqmf.model_files import gguf_types
from lqmf.model_files.gguf_header import Tensor
from lqmf.model_files.imatrix_file import Imatrix
from lqmf.quantization.gguf.converter.header import file_bytes
from lqmf.quantization.gguf.mix import dryrun, knapsack, tensor_types
from lqmf.quantization.gguf.mix.errors_table import Errors
from lqmf.quantization.gguf.mix.knapsack import Solution

Mix = Mapping[str, str]  # changeable tensor, type ("q4_K"; the base's own: as it is)
Costs = Mapping[str, Mapping[str, float]]  # tensor, type: nats a token

_ASKED = ("Q8_0", "Q6_K")  # whichever the base is, one of these changes every tensor that may change


class Mixes:
    """The choices for the model at `base`; raises UsageError for a `keep` that names nothing or does not fit."""

    def __init__(
        self, base: BaseFile, imatrix: Imatrix | None, keep: Mapping[str, str], *, fast: bool, reserve_bytes: int
    ) -> None:
        self.base, self.fast, self.reserve_bytes = base, fast, reserve_bytes
        self.known = frozenset(imatrix.entries) if imatrix else frozenset[str]()
        told = _ask(base.path, imatrix is not None)
        names = {name for asked in _ASKED for name in told[asked]}
        self.tensors: dict[str, Tensor] = {t.name: t for t in base.header.tensors if t.name in names}
        self.kept = tensor_types.match(keep, list(self.tensors.values()))
        self.choices = {name: self._choices(tensor) for name, tensor in self.tensors.items()}
        self._told = told

    def _choices(self, tensor: Tensor) -> tuple[str, ...]:
        if tensor.name in self.kept:
            return (self.kept[tensor.name],)
        return tensor_types.candidates(tensor, importance=tensor.name in self.known, fast=self.fast)

    @property
    def bounds(self) -> tensor_types.Bounds:
        return tensor_types.bounds(
            self.base.header,
            self.tensors.keys(),
            self.kept,
            importance=self.known,
            fast=self.fast,
            reserve_bytes=self.reserve_bytes,
        )

    def quantized(self, name: str) -> bool:
        """Whether the tensor may be anything but what it is in the base."""
        return any(kind.lower() != self.tensors[name].type.lower() for kind in self.choices[name])

    def presets(self) -> dict[str, Mix]:
        """llama.cpp's own mixes, as far as they hold to what is kept and to the types that may be taken."""
        made: dict[str, Mix] = {}
        for preset, told in self._told.items():
            mix = {name: tensor_types.spelled(told.get(name, t.type)) for name, t in self.tensors.items()} | self.kept
            if all(mix[name] in choices for name, choices in self.choices.items()):
                made[preset] = mix
        return made

    def file_bytes(self, mix: Mix) -> int:
        """The size of the file: header, alignment, the tensors that never change and the reserve included."""
        tensors = self.base.header.tensors
        sizes = (tensor_types.size_bytes(t, mix.get(t.name, t.type)) for t in tensors)
        return file_bytes(self.base.header, sizes) + self.reserve_bytes

    def costs(self, errors: Errors, sensitivities: Mapping[str, float]) -> Costs:
        """What each choice is predicted to cost."""
        return {
            name: {kind: errors[name][kind] * sensitivities[name] for kind in choices}
            for name, choices in self.choices.items()
        }

    def solve(self, costs: Costs, target_bytes: int) -> tuple[Mix, Solution]:
        """The cheapest mix of at most `target_bytes`. Raises UsageError where there is none."""
        sizes = [[self._padded(self.tensors[name], kind) for kind in choices] for name, choices in self.choices.items()]
        smallest = {name: choices[0] for name, choices in self.choices.items()}
        others = self.file_bytes(smallest) - sum(size[0] for size in sizes)
        values = [[costs[name][kind] for kind in choices] for name, choices in self.choices.items()]
        found = knapsack.solve(sizes, values, target_bytes - others)
        if found is None:
            self.bounds.check(target_bytes)
            raise UsageError("No mix of types has this size.", f"Say `--target-size {self.bounds.smallest_bytes}B`.")
        pairs = zip(self.choices.items(), found.choices, strict=True)
        return {name: choices[at] for (name, choices), at in pairs}, found

    def _padded(self, tensor: Tensor, kind: str) -> int:
        size = tensor_types.size_bytes(tensor, kind)
        return file_bytes(self.base.header, [size]) - self.base.header.data_offset


def predicted(costs: Costs, mix: Mix) -> float:
    """Nats a token: divergences of single tensors add up."""
    return sum(costs[name][kind] for name, kind in mix.items())


def _ask(base: Path, imatrix: bool) -> dict[str, Mapping[str, str]]:
    """What each of llama.cpp's file types would change, and to what."""
    usual = {
        name: gguf_types.LAYOUTS[name].ftype
        for name, kind in gguf_types.TYPES.items()
        if name not in gguf_types.OUTTYPES and kind.general and (imatrix or not kind.needs_imatrix)
    }
    with TemporaryDirectory(prefix="lqmf-mixes-") as folder:
        return {name: told.types for name, told in dryrun.ask(base, usual, Path(folder), imatrix=imatrix).items()}
