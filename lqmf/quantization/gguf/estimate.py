"""The cost of making a GGUF: size, disk, memory and time, from metadata alone.

Sizes are those of the model's needs if these are known; else they are computed from the type's bits per weight in the
layers, the token embedding and the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lqmf.fit.needs import Needs
from lqmf.model_files import gguf_types
from lqmf.model_files.config import is_mixture, text_part
from lqmf.records import Estimate, Hardware, ModelInfo, QuantizationPlan

_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}
_STREAM_BYTES = 480_000_000  # of a pass over the weights, whatever the model's size (bench/stream.py --flat)
_RUNNING_BYTES = 300_000_000  # of running a model, beside its weights
_IMPORTS_SECONDS = 3.0
_READ_BYTES_PER_SECOND = 600e6
_MIX_CORE_SECONDS = 100.0  # a mix takes the slower types too
_CALIBRATION_TOKENS = 20_480  # the most that are read; it stops before when the matrix has settled
_SMALL_MODEL = 150_000_000  # weights; up to here a mix is chosen with more effort (gguf.allocate), and reads more
_CHOOSING_TOKENS = {True: 380_000, False: 36_000}
_FLOPS_PER_CORE = 1e11  # of a prompt's matrices, in half precision, on an AVX-512 core
_TOKEN_BYTES = 32  # a token's text, score, type and merge in the file


def estimate(model: ModelInfo, plan: QuantizationPlan, hardware: Hardware, needs: Needs | None = None) -> Estimate:
    """Return the cost of `plan` in bytes and seconds. `disk_peak_bytes` counts the result and the files made on the
    way, but no download. Raises UsageError for an unknown type."""
    total = parameters(model)
    size = _file_bytes(model, plan.type, needs)
    base = _file_bytes(model, plan.base, needs) if plan.base and plan.base != plan.type else 0
    cores = max(1, hardware.cores)
    passes = 2 if base else 1
    seconds = passes * (_IMPORTS_SECONDS + total * 2 / _READ_BYTES_PER_SECOND)
    seconds += total / 1e9 * _core_seconds(plan.type) / cores
    tokens = _CALIBRATION_TOKENS if plan.imatrix else 0
    if plan.type == gguf_types.AUTO:
        tokens += _CHOOSING_TOKENS[total <= _SMALL_MODEL]
    seconds += 2 * total * tokens / (_FLOPS_PER_CORE * cores)
    memory = max(_STREAM_BYTES, base + _RUNNING_BYTES if plan.imatrix or plan.type == gguf_types.AUTO else 0)
    return Estimate(size, base + size, memory, seconds)


def _core_seconds(type: str) -> float:
    return (
        _MIX_CORE_SECONDS if type == gguf_types.AUTO else gguf_types.LAYOUTS[gguf_types.known(type).name].core_seconds
    )


def _file_bytes(model: ModelInfo, type: str, needs: Needs | None) -> int:
    """Return the size of the file in bytes: from the needs, or from the bits per weight of the layers, the embedding
    and the output."""
    if needs is not None and type in needs.weights:
        return needs.weights[type].file_bytes
    name = gguf_types.default_type(4) if type == gguf_types.AUTO else gguf_types.known(type).name
    layout, kind = gguf_types.LAYOUTS[name], gguf_types.known(name)
    vocabulary, width, tied = _ends(model.config, model.vocabulary)
    matrix = vocabulary * width
    bits = 8.5 if name == "MXFP4_MOE" and not is_mixture(model.config) else kind.bits_per_weight
    body = max(0, parameters(model) - matrix * (1 if tied else 2))
    ends = matrix * layout.output_bits + (0 if tied else matrix * layout.embedding_bits)
    return int((body * bits + ends) / 8) + vocabulary * _TOKEN_BYTES


def parameters(model: ModelInfo) -> int:
    """Return the model's number of weights: as its metadata states it, or counted from the bytes that the weights
    take."""
    if model.parameters:
        return model.parameters
    return model.weights_bytes // _DTYPE_BYTES.get((model.dtype or "BF16").upper(), 2)


def _ends(config: Mapping[str, Any], vocabulary: int | None) -> tuple[int, int, bool]:
    """Rows and columns of the embedding, and whether the output shares it."""
    inner = text_part(config)
    rows = inner.get("vocab_size") or vocabulary or 0
    columns = inner.get("hidden_size") or inner.get("n_embd") or 0
    return int(rows), int(columns), bool(inner.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
