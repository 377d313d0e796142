"""What making a GGUF will cost: size, disk, memory and time, from metadata alone.

Sizes are those of the model's needs where these are known; else the layers count at the type's own mix, and the token
embedding and the output at theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lqmf.fit.geometry import text_part
from lqmf.fit.needs import Needs
from lqmf.quantization.gguf import types
from lqmf.quantization.gguf.check import is_mixture
from lqmf.records import Estimate, Hardware, ModelInfo, QuantizationPlan

_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}
_IMPORTS_BYTES = 450_000_000  # the converter with torch and transformers loaded
_IMPORTS_SECONDS = 6.0
_CONVERT_BYTES_PER_SECOND = 120e6
_TOKEN_BYTES = 32  # a token's text, score, type and merge in the file


def estimate(model: ModelInfo, plan: QuantizationPlan, hardware: Hardware, needs: Needs | None = None) -> Estimate:
    """What `plan` will cost. `disk_peak_bytes` counts the 16-bit file beside the result, not a download."""
    layout, kind = types.LAYOUTS[types.known(plan.type).name], types.known(plan.type)
    total = parameters(model)
    vocabulary, width, tied = _ends(model.config, model.vocabulary)
    matrix = vocabulary * width
    bits = 8.5 if kind.name == "MXFP4_MOE" and not is_mixture(model.config) else kind.bits_per_weight
    body = max(0, total - matrix * (1 if tied else 2))
    ends = matrix * layout.output_bits + (0 if tied else matrix * layout.embedding_bits)
    size = int((body * bits + ends) / 8) + vocabulary * _TOKEN_BYTES
    half = total * 2 + vocabulary * _TOKEN_BYTES
    if needs is not None and kind.name in needs.weights:
        size, half = needs.weights[kind.name].file_bytes, needs.weights["F16"].file_bytes
    half = 0 if kind.name in types.OUTTYPES else half
    largest = max(matrix, body // 200) * 4  # in 32-bit floats
    seconds = _IMPORTS_SECONDS + total * 2 / _CONVERT_BYTES_PER_SECOND
    seconds += total / 1e9 * layout.core_seconds / max(1, hardware.cores)
    return Estimate(size, half + size, _IMPORTS_BYTES + 2 * largest, seconds)


def parameters(model: ModelInfo) -> int:
    """The model's number of weights: told, or counted from the bytes they take."""
    if model.parameters:
        return model.parameters
    return model.weights_bytes // _DTYPE_BYTES.get((model.dtype or "BF16").upper(), 2)


def _ends(config: Mapping[str, Any], vocabulary: int | None) -> tuple[int, int, bool]:
    """Rows and columns of the embedding, and whether the output shares it."""
    inner = text_part(config)
    rows = inner.get("vocab_size") or vocabulary or 0
    columns = inner.get("hidden_size") or inner.get("n_embd") or 0
    return int(rows), int(columns), bool(inner.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
