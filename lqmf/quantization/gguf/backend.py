"""The GGUF backend: a model's files become one GGUF file that llama.cpp, and whatever is built on it, runs.

`check` and `estimate` look at metadata alone; `needs` asks llama.cpp's converter and libllama, in child processes,
about the shapes; `quantize` leaves the making to `make`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from lqmf import workspace
from lqmf.declared.methods import GGUF
from lqmf.errors import LqmfError
from lqmf.events import Emit
from lqmf.fit.needs import Needs
from lqmf.ggml import library
from lqmf.model_files import gguf_types
from lqmf.quantization.gguf import check, estimate, needs
from lqmf.quantization.gguf.converter import convert, toolchain
from lqmf.quantization.parameters import Parameter, settled
from lqmf.quantization.promise import Built, Source
from lqmf.records import Estimate, Hardware, ModelInfo, ModelRef, QuantizationPlan, QuantType, Verdict

TENSOR_TYPES = "tensor-types.txt"  # for llama-quantize's --tensor-type-file


class GgufBackend:
    """llama.cpp's formats, through its official converter and its own quantizer."""

    declared = GGUF
    name = GGUF.name
    title = GGUF.title
    output_format = GGUF.format
    streams = True
    types: Mapping[str, QuantType] = MappingProxyType({**gguf_types.TYPES, gguf_types.AUTO: gguf_types.MIX})
    parameters: Mapping[str, Parameter] = MappingProxyType({})

    def __init__(self, checkout: Path | None = None) -> None:
        self._checkout = checkout  # a llama.cpp checkout to take the converter from

    def available(self) -> Verdict:
        """Whether llama-cpp-python is installed, and the converter there."""
        if importlib.util.find_spec("llama_cpp") is None:
            return Verdict("no", f"{library.PACKAGE} is not installed.", library.REMEDY)
        try:
            found = toolchain.find(self._checkout)
        except LqmfError as error:
            return Verdict("no", error.message, error.remedy)
        if found is None:
            return Verdict(
                "but", "llama.cpp's converter will be fetched once (77 MB).", "`lqmf doctor --fix` does it now."
            )
        return Verdict("yes", f"{library.PACKAGE} {library.installed_version()} with its converter.")

    def default_type(self, bits: int) -> str:
        """The recommended type of `bits` bits. Raises UsageError."""
        return gguf_types.default_type(bits)

    def check(self, model: ModelInfo, hardware: Hardware, type: str | None = None) -> Verdict:
        """Can this model become this type, here? From metadata alone, in milliseconds."""
        try:
            found = toolchain.find(self._checkout)
        except LqmfError as error:
            return Verdict("no", error.message, error.remedy)
        return check.check(model, type, found.architectures() if found else None)

    def estimate(
        self, model: ModelInfo, plan: QuantizationPlan, hardware: Hardware, needs: Needs | None = None
    ) -> Estimate:
        """Size, disk, memory and time of carrying out `plan`; downloading is not counted. Sizes are exact where the
        model's `needs` are given."""
        return estimate.estimate(model, plan, hardware, needs)

    def needs(self, model: ModelInfo, skeleton: Path, contexts: tuple[int, ...], parallel: int) -> Needs:
        """What running `model` takes as each type, by llama.cpp's own arithmetic. See `gguf.needs` for errors."""
        tools = toolchain.ensure(self._checkout)
        return needs.needs(skeleton, model_name(model.ref), contexts, parallel, tools)

    def vet(self, plan: QuantizationPlan, model: ModelInfo, skeleton: Path) -> None:
        """Refuse what is wrong with the files, sizes and names that `plan` says. See `gguf.vet` for errors."""
        from lqmf.quantization.gguf.vet import vet

        settled(self.parameters, plan.parameters, title=self.title)
        vet(plan, skeleton, model_name(model.ref), toolchain.ensure(self._checkout))

    def quantize(
        self,
        plan: QuantizationPlan,
        source: Source,
        out: Path,
        work: Path,
        emit: Emit,
        later_plans: Sequence[QuantizationPlan] = (),
    ) -> Built:
        """Leave `<model>-<TYPE>.gguf` in `out`, and of a mix its tensors' types, as llama-quantize reads them. See
        `make` for errors."""
        from lqmf.quantization.gguf.make import GgufBuild
        from lqmf.quantization.gguf.mix.tensor_types import write_tensor_types

        settled(self.parameters, plan.parameters, title=self.title)
        tools = convert.ready(emit, self._checkout)
        name = model_name(plan.model)
        made = GgufBuild(name, source, work, tools, emit).make(plan, later_plans)
        file = f"{name}-{plan.type}.gguf"
        workspace.take(made.file, out / file)
        if made.mix:
            write_tensor_types(made.mix, out / TENSOR_TYPES)
        files = (file, TENSOR_TYPES) if made.mix else (file,)
        base = str(made.base) if made.base else None
        merged = made.adapter
        return Built(files, versions(tools), base, made.notes, made.matrix, made.tensors, adapter=merged)

    def base(self, plan: QuantizationPlan, source: Path, work: Path, emit: Emit) -> Path:
        """The model of `plan` as a GGUF to measure against, in `work`; found there if it was made before."""
        from lqmf.quantization.gguf.make import GgufBuild

        wanted = dataclasses.replace(plan, base=plan.base or "F16")
        return GgufBuild(model_name(plan.model), Source(source), work, convert.ready(emit, self._checkout), emit).base(
            wanted
        )


BACKEND = GgufBackend


def model_name(ref: ModelRef) -> str:
    """The model's own name, safe in a file name on every system: "Mistral-7B-v0.3", "demo"."""
    text = ref.id if ref.kind != "local" else Path(ref.path or ref.id).name
    return re.sub(r"[^\w.+-]+", "_", text.rstrip("/").rpartition("/")[2]).strip("._")[:100] or "model"


def versions(tools: toolchain.Toolchain) -> dict[str, str]:
    """What made the file: each tool's version, without importing any."""
    found = {"llama.cpp converter": tools.version}
    for package in (library.PACKAGE, "transformers", "torch", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
