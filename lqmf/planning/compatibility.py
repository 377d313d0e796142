"""Tells which method can quantize a model here, and what stands in its way: one table, each "no" with a way out.

Asks every backend's `available` and `check`, and adds facts from the configuration and the weights' headers alone: how
far weights that are quantized already can be read, and which matrices llama.cpp has to give a larger type. Fetches
nothing; knows no memory and no disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lqmf.model_files.config import is_mixture, text_part
from lqmf.model_files.model_kind import Nature, model_kind
from lqmf.model_files.prequantized import quantized
from lqmf.model_files.safetensors_header import TensorShape, tensors
from lqmf.quantization.promise import Backend
from lqmf.records import Hardware, ModelInfo, Verdict
from lqmf.units import file_size

# What llama.cpp takes for a matrix whose rows a block of 256 does not divide, with bits a weight before and after
# (`tensor_type_fallback` in its src/llama-quant.cpp); by the beginning of the type's name, longer ones first.
FALLBACKS: Mapping[str, tuple[str, float, float]] = {
    "IQ4_XS": ("IQ4_NL", 4.25, 4.5), "IQ3": ("IQ4_NL", 3.44, 4.5), "IQ2": ("IQ4_NL", 2.5, 4.5),
    "IQ1": ("IQ4_NL", 1.75, 4.5), "Q2_K": ("Q4_0", 2.625, 4.5), "Q3_K": ("Q4_0", 3.4375, 4.5),
    "Q4_K": ("Q5_0", 4.5, 5.5), "Q5_K": ("Q5_1", 5.5, 6.0), "Q6_K": ("Q8_0", 6.5625, 8.5),
}  # fmt: skip
BLOCK = 256
ANSWERS = ("yes", "but", "no")
_NOT_TEXT = re.compile(r"vision|visual|audio|multi_?modal|mm_projector|conv|embed_positions|wpe")  # left as they are


@dataclass(frozen=True)
class Row:
    """The answer of one method."""

    method: str
    title: str
    verdict: Verdict


def compatibility(
    backends: Mapping[str, Backend],
    info: ModelInfo,
    hardware: Hardware,
    *,
    type: str | None = None,
    skeleton: Path | None = None,
) -> tuple[Row, ...]:
    """Return every method's answer, sorted "yes", "but", "no".

    `type` is passed to the methods that have such a type; `skeleton` is a folder with the headers of the weights, whose
    contents may be holes. Raises LqmfError where `skeleton` cannot be read.
    """
    shapes = tensors(skeleton) if skeleton else ()
    found = [Row(name, each.title, _verdict(each, info, hardware, type, shapes)) for name, each in backends.items()]
    rows = [_with_who_can(row, found) for row in found]
    return tuple(sorted(rows, key=lambda row: (ANSWERS.index(row.verdict.answer), row.method)))


def _with_who_can(row: Row, rows: Sequence[Row]) -> Row:
    """Return the row; a "no" also names the methods that could do the job, where its remedy does not name them
    already."""
    able = [
        each.method
        for each in rows
        if each.verdict.answer != "no" and f"--method {each.method}" not in row.verdict.remedy
    ]
    if row.verdict.answer != "no" or not able:
        return row
    ways = " or ".join(f"`--method {method}`" for method in able)
    remedy = f"{row.verdict.remedy} It can be done by {ways}.".strip()
    return replace(row, verdict=replace(row.verdict, remedy=remedy))


def _verdict(
    backend: Backend, info: ModelInfo, hardware: Hardware, type: str | None, shapes: Sequence[TensorShape]
) -> Verdict:
    available = backend.available()
    if available.answer == "no":
        return available
    own = type if type in backend.types else None
    verdict = backend.check(info, hardware, own)
    if verdict.answer == "no" or backend.name != "gguf" or not own or not (cost := fallback(info, own, shapes)):
        return verdict
    doubts = [verdict.reason] if verdict.answer == "but" else []
    return Verdict("but", " ".join([*doubts, cost]), verdict.remedy)


def traits(info: ModelInfo) -> tuple[str, ...]:
    """Return words for the kind of model that the configuration describes."""
    config, inner = info.config, text_part(info.config)
    found: list[str] = [kind(info)]
    if is_mixture(config):
        experts = inner.get("num_local_experts") or inner.get("n_routed_experts") or inner.get("num_experts")
        used = inner.get("num_experts_per_tok") or inner.get("experts_per_token") or inner.get("num_experts_per_token")
        found.append(f"{experts} experts" + (f", {used} of them for each token" if used else ""))
    if inner.get("tie_word_embeddings", config.get("tie_word_embeddings")):
        found.append("its output shares the embedding")
    if method := quantized(config).get("quant_method"):
        found.append(f"quantized already ({method})")
    return tuple(found)


def kind(info: ModelInfo) -> Nature:
    """Return the kind of a model: a decoder continues text, an encoder reads it, an encoder-decoder answers a text with
    another text."""
    return model_kind(info.architecture, info.model_type, info.config)


def fallback(info: ModelInfo, type: str, shapes: Sequence[TensorShape]) -> str | None:
    """Return a sentence on the matrices that cannot be of `type` since their rows do not divide into blocks, and on the
    extra bytes, which are those of the type's main tensors.

    None where all matrices can be of `type`, where the type has small blocks, or where the weights are quantized
    already.
    """
    family = next((name for name in FALLBACKS if type.startswith(name)), None)
    plain = [] if quantized(info.config) else [shape for shape in shapes if not _NOT_TEXT.search(shape.name)]
    matrices = [(shape, _row(info, shape)) for shape in plain if len(shape.shape) > 1]
    misfits = [(shape, row) for shape, row in matrices if row % BLOCK]
    if family is None or not misfits:
        return None
    instead, bits, larger = FALLBACKS[family]
    weights = sum(shape.elements for shape, _ in misfits)
    share = weights / sum(shape.elements for shape, _ in matrices)
    rows = " or ".join(str(row) for row in sorted({row for _, row in misfits}))
    return (
        f"{len(misfits)} of {len(matrices)} matrices ({share:.0%} of the weights) have rows of {rows}, which blocks of "
        f"{BLOCK} do not divide: they become {instead}, about {file_size(weights * (larger - bits) / 8)} more."
    )


def _row(info: ModelInfo, shape: TensorShape) -> int:
    """Return the length of a row as a GGUF has it: the last dimension, but the first in GPT-2's transposed layers."""
    transposed = info.model_type == "gpt2" and ".c_" in shape.name
    return shape.shape[0 if transposed else -1]
