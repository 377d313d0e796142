"""The mixes of types that a model's file may have: the types that each tensor may take, llama.cpp's own mixes among
them, the size and the predicted cost of a mix, and the cheapest mix of a size. Knows nothing of running the model."""

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
    """The choices for the model at `base`; raises UsageError for a `keep` that names no tensor, or a type that does not
    fit the tensor's rows."""

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
        """Return whether the tensor may take another type than it has in the base."""
        return any(kind.lower() != self.tensors[name].type.lower() for kind in self.choices[name])

    def presets(self) -> dict[str, Mix]:
        """Return llama.cpp's own mixes by name, with the types of `keep`; only those whose types the tensors may
        take."""
        made: dict[str, Mix] = {}
        for preset, told in self._told.items():
            mix = {name: tensor_types.spelled(told.get(name, t.type)) for name, t in self.tensors.items()} | self.kept
            if all(mix[name] in choices for name, choices in self.choices.items()):
                made[preset] = mix
        return made

    def file_bytes(self, mix: Mix) -> int:
        """Return the size of the file in bytes: header, alignment, the tensors that never change and the reserve
        included."""
        tensors = self.base.header.tensors
        sizes = (tensor_types.size_bytes(t, mix.get(t.name, t.type)) for t in tensors)
        return file_bytes(self.base.header, sizes) + self.reserve_bytes

    def costs(self, errors: Errors, sensitivities: Mapping[str, float]) -> Costs:
        """Return the predicted cost of each choice, in nats a token: its error times the tensor's sensitivity."""
        return {
            name: {kind: errors[name][kind] * sensitivities[name] for kind in choices}
            for name, choices in self.choices.items()
        }

    def solve(self, costs: Costs, target_bytes: int) -> tuple[Mix, Solution]:
        """Return the cheapest mix of at most `target_bytes`, and the solver's answer. Raises UsageError if there is no
        such mix."""
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
    """Return the predicted divergence of `mix` in nats a token: divergences of single tensors add up."""
    return sum(costs[name][kind] for name, kind in mix.items())


def _ask(base: Path, imatrix: bool) -> dict[str, Mapping[str, str]]:
    """Return the tensors that each of llama.cpp's file types would change, with their new types."""
    usual = {
        name: gguf_types.LAYOUTS[name].ftype
        for name, kind in gguf_types.TYPES.items()
        if name not in gguf_types.OUTTYPES and kind.general and (imatrix or not kind.needs_imatrix)
    }
    with TemporaryDirectory(prefix="lqmf-mixes-") as folder:
        return {name: told.types for name, told in dryrun.ask(base, usual, Path(folder), imatrix=imatrix).items()}
