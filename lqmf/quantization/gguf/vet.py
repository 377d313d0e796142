"""The check, before any work, of the files, sizes and tensors that a plan names, against the header of the file to
come.

Reads no weight and runs no model. Raises errors that would otherwise come an hour later.
"""

from __future__ import annotations

from pathlib import Path

from lqmf.errors import UsageError
from lqmf.ggml.base_file import BaseFile
from lqmf.model_files import gguf_types, imatrix_file
from lqmf.model_files.gguf_header import read_header
from lqmf.quantization.gguf.converter import adapter, header
from lqmf.quantization.gguf.converter.header import Kept
from lqmf.quantization.gguf.converter.toolchain import Toolchain
from lqmf.quantization.gguf.mix import tensor_types
from lqmf.quantization.gguf.mix.mixes import Mixes
from lqmf.records import QuantizationPlan
from lqmf.texts import calibration
from lqmf.texts.calibration_text import HUB


def vet(plan: QuantizationPlan, skeleton: Path, name: str, tools: Toolchain) -> None:
    """Refuse a calibration that cannot be read or is another model's matrix, a size that no mix can have, names of
    tensors that the model does not have, and a folder that is no LoRA adapter.

    Raises UsageError with the reason; IncompleteModel and UnsupportedModel for the adapter; and as `header.make` does.
    """
    if plan.calibration:
        check_calibration(plan.calibration)
    if plan.adapter:
        adapter.check(Path(plan.adapter))
    if plan.keep and plan.type != gguf_types.AUTO:
        raise UsageError("--keep is for a mix of types.", "Say `--type auto`, or leave it out.")
    if plan.type != gguf_types.AUTO and not _is_matrix(plan):
        return
    kept = header.make(skeleton, name, tools, header.place(skeleton, name, tools))
    if _is_matrix(plan):
        shapes = {tensor.name: tensor.shape for tensor in read_header(kept.path).tensors}
        imatrix_file.check(imatrix_file.read(Path(str(plan.calibration))), shapes)
    if plan.type == gguf_types.AUTO:
        _check_mix(plan, kept)


def check_calibration(said: str) -> None:
    """Refuse, before any work and without a model, a calibration that is no text, dataset or importance matrix. Raises
    UsageError with the reason."""
    path = Path(said).expanduser()
    if not said.startswith(HUB) and imatrix_file.is_imatrix(path):
        imatrix_file.read(path)
    else:
        calibration.check(said)


def _is_matrix(plan: QuantizationPlan) -> bool:
    return bool(plan.calibration) and imatrix_file.is_imatrix(Path(str(plan.calibration)).expanduser())


def _check_mix(plan: QuantizationPlan, kept: Kept) -> None:
    keep = tensor_types.parse_keep(plan.keep)
    with kept.extended() as file:
        base = BaseFile(file)
        mixes = Mixes(base, None, keep, fast=False, reserve_bytes=tensor_types.RESERVE_BYTES)
    known = None if plan.imatrix else frozenset[str]()
    found = tensor_types.bounds(base.header, mixes.tensors.keys(), mixes.kept, importance=known)
    found.check(plan.target_bytes or 0)
