"""The GGUF backend: a model's files become one GGUF file that llama.cpp, and the programs built on it, run.

`check` and `estimate` look at metadata alone; `needs` asks llama.cpp's converter and libllama, in child processes,
about the shapes; `quantize` calls `make`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
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

    def available(self) -> Verdict:
        """Return whether llama-cpp-python is installed and the converter is on this machine. A "but" says that the
        converter will be fetched; a no names the remedy."""
        if importlib.util.find_spec("llama_cpp") is None:
            return Verdict("no", f"{library.PACKAGE} is not installed.", library.REMEDY)
        try:
            found = toolchain.find()
        except LqmfError as error:
            return Verdict("no", error.message, error.remedy)
        if found is None:
            return Verdict(
                "but", "llama.cpp's converter will be fetched once (77 MB).", "`lqmf doctor --fix` does it now."
            )
        return Verdict("yes", f"{library.PACKAGE} {library.installed_version()} with its converter.")

    def default_type(self, bits: int) -> str:
        """Return the recommended type of `bits` bits. Raises UsageError if there is none."""
        return gguf_types.default_type(bits)

    def check(self, model: ModelInfo, hardware: Hardware, type: str | None = None) -> Verdict:
        """Return whether `model` can become a GGUF of `type`, from metadata alone, in milliseconds. Raises UsageError
        for an unknown type."""
        try:
            found = toolchain.find()
        except LqmfError as error:
            return Verdict("no", error.message, error.remedy)
        return check.check(model, type, found.architectures() if found else None)

    def estimate(
        self, model: ModelInfo, plan: QuantizationPlan, hardware: Hardware, needs: Needs | None = None
    ) -> Estimate:
        """Return the size, disk and memory in bytes and the time in seconds that `plan` takes; downloading is not
        counted. Sizes are exact if the model's `needs` are given."""
        return estimate.estimate(model, plan, hardware, needs)

    def needs(self, model: ModelInfo, skeleton: Path, contexts: tuple[int, ...], parallel: int) -> Needs:
        """Return the sizes and the memory of `model` as each type, by llama.cpp's own arithmetic. Raises
        ToolchainError, DiskFull, and as `gguf.needs` does."""
        tools = toolchain.ensure()
        return needs.needs(skeleton, model_name(model.ref), contexts, parallel, tools)

    def vet(self, plan: QuantizationPlan, model: ModelInfo, skeleton: Path) -> None:
        """Refuse files, sizes and names in `plan` that cannot be used. Raises ToolchainError, DiskFull, and as
        `gguf.vet` does."""
        from lqmf.quantization.gguf.vet import vet

        settled(self.parameters, plan.parameters, title=self.title)
        vet(plan, skeleton, model_name(model.ref), toolchain.ensure())

    def quantize(
        self,
        plan: QuantizationPlan,
        source: Source,
        out: Path,
        work: Path,
        emit: Emit,
        later_plans: Sequence[QuantizationPlan] = (),
    ) -> Built:
        """Write `<model>-<TYPE>.gguf` into `out`; for a mix, also the types of its tensors, as llama-quantize reads
        them. See `make` for errors."""
        from lqmf.quantization.gguf.make import GgufBuild
        from lqmf.quantization.gguf.mix.tensor_types import write_tensor_types

        settled(self.parameters, plan.parameters, title=self.title)
        tools = convert.ready(emit)
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
        """Return the path of the plan's model in `work` as a GGUF to compare artifacts with; made unless the file is
        there already."""
        from lqmf.quantization.gguf.make import GgufBuild

        wanted = dataclasses.replace(plan, base=plan.base or "F16")
        return GgufBuild(model_name(plan.model), Source(source), work, convert.ready(emit), emit).base(wanted)


BACKEND = GgufBackend


def model_name(ref: ModelRef) -> str:
    """Return the model's own name, safe in a file name on every system: "Mistral-7B-v0.3", "demo"."""
    text = ref.id if ref.kind != "local" else Path(ref.path or ref.id).name
    return workspace.safe_name(text.rstrip("/").rpartition("/")[2], workspace.LONGEST_MODEL)[:100]


def versions(tools: toolchain.Toolchain) -> dict[str, str]:
    """Return the version of each tool that makes the file, by its name, without importing any tool."""
    found = {"llama.cpp converter": tools.version}
    for package in (library.PACKAGE, "transformers", "torch", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
