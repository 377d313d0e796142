"""The GGUF backend: a model's files become one GGUF file that llama.cpp, and whatever is built on it, runs.

Two steps: llama.cpp's official converter writes a 16-bit file, libllama quantizes that. `check` and `estimate`
look at metadata alone; `needs` asks both tools, in child processes, about the shapes.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from lqmf.errors import LqmfError, UnsupportedModel
from lqmf.events import Emit
from lqmf.fit.needs import Needs
from lqmf.quantization.base import Built, QuantType
from lqmf.quantization.gguf import check, convert, estimate, needs, quantize, toolchain, types
from lqmf.records import Estimate, Hardware, ModelInfo, ModelRef, QuantizationPlan, Verdict


class GgufBackend:
    """llama.cpp's formats, through its official converter and its own quantizer."""

    name = "gguf"
    title = "GGUF (llama.cpp)"
    output_format = "gguf"
    types: Mapping[str, QuantType] = types.TYPES

    def __init__(self, checkout: Path | None = None) -> None:
        self._checkout = checkout  # a llama.cpp checkout to take the converter from

    def available(self) -> Verdict:
        """Whether llama-cpp-python is installed, and the converter there."""
        if importlib.util.find_spec("llama_cpp") is None:
            install = f"Run `{sys.executable} -m pip install {toolchain.PACKAGE}`."
            return Verdict("no", f"{toolchain.PACKAGE} is not installed.", install)
        try:
            found = toolchain.find(self._checkout)
        except LqmfError as error:
            return Verdict("no", error.message, error.remedy)
        if found is None:
            return Verdict(
                "but", "llama.cpp's converter will be fetched once (77 MB).", "`lqmf doctor --fix` does it now."
            )
        return Verdict("yes", f"{toolchain.PACKAGE} {toolchain.installed_version()} with its converter.")

    def default_type(self, bits: int) -> str:
        """The recommended type of `bits` bits. Raises UsageError."""
        return types.default_type(bits)

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

    def quantize(self, plan: QuantizationPlan, source: Path, out: Path, scratch: Path, emit: Emit) -> Built:
        """Convert, quantize, and leave `<model>-<TYPE>.gguf` in `out`. See `convert` and `quantize` for errors."""
        kind = types.known(plan.type)
        if kind.needs_imatrix:
            raise UnsupportedModel(check.imatrix_reason(kind.name), check.imatrix_remedy(kind.name))
        tools = convert.ready(emit, self._checkout)
        name, file = model_name(plan.model), f"{model_name(plan.model)}-{kind.name}.gguf"
        outtype = types.OUTTYPES.get(kind.name, "f16")
        target = out / file if kind.name in types.OUTTYPES else scratch / f"{name}-F16.gguf"
        made = convert.convert(
            source, target, outtype, tools, emit, scratch=scratch, name=name, allow_remote_code=plan.allow_remote_code
        )
        notes = made.notes
        if kind.name not in types.OUTTYPES:
            notes += quantize.quantize(target, out / file, kind.name, emit)
        return Built((file,), versions(tools), _base(target, kind.name, scratch, name), notes)


BACKEND = GgufBackend


def model_name(ref: ModelRef) -> str:
    """The model's own name, safe in a file name on every system: "Mistral-7B-v0.3", "demo"."""
    text = ref.id if ref.kind != "local" else Path(ref.path or ref.id).name
    return re.sub(r"[^\w.+-]+", "_", text.rstrip("/").rpartition("/")[2]).strip("._")[:100] or "model"


def versions(tools: toolchain.Toolchain) -> dict[str, str]:
    """What made the file: each tool's version, without importing any."""
    found = {"llama.cpp converter": tools.version}
    for package in (toolchain.PACKAGE, "transformers", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _base(written: Path, type: str, scratch: Path, name: str) -> str | None:
    """The 16-bit file to measure against: for F16 the artifact itself, under a second name in `scratch`."""
    if type in ("BF16", "F32"):
        return None
    base = scratch / f"{name}-F16.gguf"
    if base != written:
        try:
            os.link(written, base)
        except OSError:
            shutil.copyfile(written, base)
    return str(base)
