"""The types that `llama_model_quantize` can write, their sizes, and the recommended type for a number of bits.

Plain data; imports no library. The numbers of files' types are those of `enum llama_ftype` in llama.h, as of
llama-cpp-python 0.3.36. Sizes are bits per weight from llama.cpp's own dry run for Llama 3 8B: `body` for all matrices
of the layers together, and the types that it picks for the token embedding and the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lqmf.errors import UsageError
from lqmf.model_files.tensor_types import KINDS
from lqmf.records import QuantType


@dataclass(frozen=True)
class Layout:
    """How llama.cpp writes a type: `ftype` is its number for the type; bits per weight of the embedding and the output.

    A model whose output is tied to its embedding stores one matrix, at the output's type.
    """

    ftype: int
    embedding_bits: float
    output_bits: float
    core_seconds: float  # CPU seconds for a billion weights on one AVX-512 core, an imatrix used where it is by default


_Q2, _Q3, _Q4, _Q5, _Q6, _Q8 = (
    KINDS[name].bits_per_weight for name in ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "q8_0")
)
_TRAINED = "only for models trained this way"

# name: ftype, bits, body bits per weight, embedding, output, core seconds, needs an importance matrix, summary
_TABLE: Mapping[str, tuple[int, int, float, float, float, float, bool, str]] = {
    "Q4_K_M": (15, 4, 4.80, _Q4, _Q6, 12, False, "the usual choice: small, with little loss"),
    "Q4_K_S": (14, 4, 4.54, _Q4, _Q6, 13, False, "a little smaller than Q4_K_M"),
    "IQ4_XS": (30, 4, 4.32, 4.25, _Q6, 9, False, "the smallest good 4-bit type; slower on a CPU"),
    "IQ4_NL": (25, 4, 4.55, _Q4, _Q6, 9, False, "for matrices whose rows K-types do not fit"),
    "Q4_0": (2, 4, 4.50, _Q4, _Q6, 22, False, "older; fast on ARM"),
    "Q4_1": (3, 4, 5.00, 5.0, _Q6, 80, False, "older"),
    "MXFP4_MOE": (38, 4, 4.25, _Q8, _Q8, 4, False, "4-bit floats for mixtures of experts"),
    "Q5_K_M": (17, 5, 5.65, _Q5, _Q6, 5, False, "very little loss"),
    "Q5_K_S": (16, 5, 5.50, _Q5, _Q6, 5, False, "a little smaller than Q5_K_M"),
    "Q5_0": (8, 5, 5.50, _Q5, _Q6, 2, False, "older"),
    "Q5_1": (9, 5, 6.00, 6.0, _Q6, 2, False, "older"),
    "Q6_K": (18, 6, 6.56, _Q6, _Q6, 5, False, "hardly distinguishable from the source"),
    "Q8_0": (7, 8, 8.50, _Q8, _Q8, 3, False, "as good as the source, half its size"),
    "Q3_K_M": (12, 3, 3.84, _Q3, _Q6, 11, False, "small, with a clear loss"),
    "IQ3_M": (27, 3, 3.58, _Q3, _Q6, 200, False, "smaller than Q3_K_M at a similar loss; slower on a CPU"),
    "Q3_K_L": (13, 3, 4.19, _Q3, _Q6, 11, False, "between Q3_K_M and 4 bits"),
    "Q3_K_S": (11, 3, 3.44, _Q3, _Q6, 10, False, "smaller than Q3_K_M, with more loss"),
    "IQ3_S": (26, 3, 3.46, _Q3, _Q6, 240, False, "a little smaller than IQ3_M"),
    "IQ3_XS": (22, 3, 3.27, _Q3, _Q6, 300, True, "between IQ3_S and 2 bits"),
    "IQ3_XXS": (23, 3, 3.21, _Q3, _Q5, 350, True, "the smallest 3-bit type"),
    "Q2_K": (10, 2, 2.94, _Q2, _Q6, 17, False, "very small, with a large loss"),
    "IQ2_M": (29, 2, 2.70, _Q3, _Q5, 200, True, "better than Q2_K at a smaller size"),
    "IQ2_S": (28, 2, 2.48, _Q3, _Q5, 250, True, "smaller than IQ2_M"),
    "IQ2_XS": (20, 2, 2.37, _Q2, _Q5, 450, True, "smaller than IQ2_S"),
    "IQ2_XXS": (19, 2, 2.13, _Q2, _Q5, 250, True, "the smallest 2-bit type"),
    "Q2_K_S": (21, 2, 2.73, _Q2, _Q6, 18, True, "a little smaller than Q2_K"),
    "TQ2_0": (37, 2, 2.06, _Q4, _Q6, 3, False, f"ternary weights: {_TRAINED}"),
    "Q2_0": (41, 2, 2.25, _Q4, _Q6, 15, False, f"four levels: {_TRAINED}"),
    "IQ1_M": (31, 1, 1.86, _Q2, _Q5, 110, True, "hardly usable, for very large models"),
    "IQ1_S": (24, 1, 1.69, _Q2, _Q5, 120, True, "the smallest type of all"),
    "TQ1_0": (36, 1, 1.69, _Q4, _Q6, 3, False, f"ternary weights, packed: {_TRAINED}"),
    "Q1_0": (40, 1, 1.13, 1.125, _Q6, 18, False, f"one-bit weights: {_TRAINED}"),
    "F16": (1, 16, 16.0, 16.0, 16.0, 0, False, "not quantized: half floats"),
    "BF16": (32, 16, 16.0, 16.0, 16.0, 0, False, "not quantized: bfloat16, as most models are trained"),
    "F32": (0, 32, 32.0, 32.0, 32.0, 0, False, "not quantized: full floats"),
}


def _is_general(name: str, bits: int, summary: str) -> bool:
    return _TRAINED not in summary and name != "MXFP4_MOE" and bits > 1


TYPES: Mapping[str, QuantType] = {
    name: QuantType(name, bits, body, needs_imatrix, summary, _is_general(name, bits, summary))
    for name, (_, bits, body, _, _, _, needs_imatrix, summary) in _TABLE.items()
}
LAYOUTS: Mapping[str, Layout] = {name: Layout(row[0], row[3], row[4], row[5]) for name, row in _TABLE.items()}

AUTO = "auto"  # not one of llama.cpp's: each tensor's type is chosen, for a size
MIX = QuantType(AUTO, 4, 4.5, summary="each tensor's type chosen to lose least for the size", general=False)

# names that llama-quantize takes for another type, and types that llama.cpp runs, but does not quantize to
SHORT: Mapping[str, str] = {"Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M", "MXFP4": "MXFP4_MOE"}
RUN_ONLY: Mapping[str, int] = {"NVFP4": 39}  # with the number of a file of it
FILE_TYPES: Mapping[int, str] = {row.ftype: name for name, row in LAYOUTS.items()} | {
    number: name for name, number in RUN_ONLY.items()
}

# types that the converter writes by itself
OUTTYPES: Mapping[str, str] = {"F16": "f16", "BF16": "bf16", "F32": "f32"}

_DEFAULTS: Mapping[int, str] = {
    2: "Q2_K", 3: "Q3_K_M", 4: "Q4_K_M", 5: "Q5_K_M", 6: "Q6_K", 8: "Q8_0", 16: "F16", 32: "F32",
}  # fmt: skip


def default_type(bits: int) -> str:
    """Return the recommended type of `bits` bits. Raises UsageError, naming the choices, if there is no such type."""
    if bits in _DEFAULTS:
        return _DEFAULTS[bits]
    choices = ", ".join(f"{known} ({name})" for known, name in _DEFAULTS.items())
    raise UsageError(f"There is no recommended {bits}-bit GGUF type.", f"Choose among {choices}.")


def bits(name: str) -> int:
    """Return the bits of a file's or a tensor's type: 4 for Q4_K_M, 2 for IQ2_XS, 16 for BF16, 0 for an unknown
    name."""
    if name in TYPES:
        return TYPES[name].bits
    kind = KINDS.get(name.lower())
    return int(kind.bits_per_weight) if kind else 0


def known(name: str) -> QuantType:
    """Return the type called `name`. Raises UsageError if llama.cpp has no type of that name."""
    if name in TYPES or name == AUTO:
        return TYPES.get(name, MIX)
    raise UsageError(f"GGUF has no type called '{name}'.", f"Choose one of: {', '.join(TYPES)}.")
