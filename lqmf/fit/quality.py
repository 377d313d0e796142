"""Estimates the loss of a type before any measurement: KL divergence from the 16-bit source, in nats a token.

Knows published figures and the measured figures that it is given; knows no machine, no store, no file. Sources:

- weights: llama.cpp, tools/perplexity/README.md, "LLaMA 3 8b Scoreboard" (revision f364eb6f, WikiText-2): mean KLD.
  K-types and the older ones as made without an importance matrix, i-types and Q2_K_S with one (10 million tokens).
- ternary types: llama.cpp pull request 12557, for a model that was not trained for them.
- cache: llama.cpp pull request 7412 (20 May 2024, Llama 3 8B), keys and values apart, less that table's own f16 row.

The order of the types is that of Artefact2's medians for Mistral 7B. The size of a loss is not: in the same README the
losses of Llama 2 7B are 0.4 (Q4_K_M) and 0.24 (Q2_K) times those of Llama 3 8B. So a measurement corrects the whole
table. No source separates the effect of the number of parameters from that of the model family, so that number changes
no figure, only the stated origin of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from lqmf.declared import methods
from lqmf.model_files.gguf_types import TYPES
from lqmf.records import Loss

LITTLE = 0.035  # nats a token: little loss; Q4_K_M keeps it, with an f16 or a q8_0 cache
HARDLY = 0.012  # hardly any loss; Q5_K_M keeps it
CLEAR = 0.12  # a clear loss, yet usable: the 3-bit types from IQ3_S up keep it

WEIGHTS: Mapping[str, float] = {
    "F32": 0.0, "F16": 0.0, "BF16": 0.0,
    "Q8_0": 0.001355, "Q6_K": 0.005452,
    "Q5_K_M": 0.010762, "Q5_K_S": 0.016595, "Q5_1": 0.018045, "Q5_0": 0.022239,
    "Q4_K_M": 0.031273, "IQ4_NL": 0.035742, "IQ4_XS": 0.036334, "Q4_K_S": 0.043136, "Q4_1": 0.071683, "Q4_0": 0.071940,
    "Q3_K_L": 0.087176, "Q3_K_M": 0.101913, "IQ3_M": 0.102534, "IQ3_S": 0.111278, "IQ3_XS": 0.138693,
    "IQ3_XXS": 0.183625, "Q3_K_S": 0.228217,
    "IQ2_M": 0.325989, "Q2_K_S": 0.403360, "IQ2_S": 0.439197, "Q2_K": 0.445132, "IQ2_XS": 0.546290, "IQ2_XXS": 0.812022,
    "IQ1_M": 1.393084, "IQ1_S": 2.254554,
}  # fmt: skip
KEYS: Mapping[str, float] = {"f16": 0.0, "q8_0": 0.000755, "q4_0": 0.032727}
VALUES: Mapping[str, float] = {"f16": 0.0, "q8_0": 0.000554, "q4_0": 0.004799}

_TERNARY, _TRAINED_FOR = 2.242612, ("TQ1_0", "TQ2_0", "Q2_0", "Q1_0")
_ANCHORS = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0")
_SCOREBOARD = "llama.cpp's figures for Llama 3 8B"


def expected_loss(
    type: str,
    k_type: str = "f16",
    v_type: str = "f16",
    *,
    parameters: int | None = None,
    measured: Mapping[str, float] | None = None,
) -> Loss:
    """Return the expected loss of weights of `type` with a cache of `k_type` and `v_type`, and its origin.

    `measured` maps types to mean KL divergences measured with an f16 cache, of this model or of models like it: a
    measured value is used as it is, and the types without one are scaled by the geometric mean of measured to
    published. `type` is a GGUF type, or a type that another method declares ("nf4", "int8", "4bit"). The cache's loss
    is added: divergences of single parts add up. Raises ValueError for a type that no method has, KeyError for an
    unknown cache type.
    """
    weights, origin = _weights(type, measured or {})
    if type not in (measured or {}) and parameters and not 2e9 <= parameters <= 32e9:
        origin += ", a model of another size"
    cache = KEYS[k_type] + VALUES[v_type]
    if cache:
        origin += f"; {k_type}/{v_type} cache: llama.cpp pull request 7412"
    return Loss(weights + cache, origin)


def _weights(type: str, measured: Mapping[str, float]) -> tuple[float, str]:
    if type in measured:
        return measured[type], "measured here"
    published, origin = _published(type)
    ratios = [kl / WEIGHTS[name] for name, kl in measured.items() if kl > 0 and WEIGHTS.get(name)]
    if not ratios:
        return published, origin
    ratio = math.exp(sum(map(math.log, ratios)) / len(ratios))
    count = f"{len(ratios)} measured type{'s' if len(ratios) > 1 else ''}"
    return published * ratio, f"{origin}, times {ratio:.2g} after {count}"


def _published(type: str) -> tuple[float, str]:
    if type in WEIGHTS:
        return WEIGHTS[type], _SCOREBOARD
    if type in _TRAINED_FOR:
        return _TERNARY, "llama.cpp pull request 12557 for ternary types; far less for a model trained this way"
    bits = TYPES[type].bits_per_weight if type in TYPES else _declared(type)
    return _by_bits(bits), f"{_SCOREBOARD}, between types of more and of fewer bits than {bits:.3g}"


def _declared(type: str) -> float:
    """Return the bits a weight by which another method's type is judged. Raises ValueError where no method declares
    it."""
    if type not in methods.types():
        raise ValueError(f"no method has a type '{type}'")
    method, kind = methods.types()[type]
    return method.worth.get(type, kind.bits_per_weight)


def _by_bits(bits: float) -> float:
    """Return the loss on the line through the logarithms of the two nearest K-types."""
    if bits >= 16:
        return 0.0
    points = [(TYPES[name].bits_per_weight, math.log(WEIGHTS[name])) for name in _ANCHORS]
    above = next((i for i, (width, _) in enumerate(points) if width >= bits), len(points) - 1)
    (x0, y0), (x1, y1) = points[max(0, above - 1)], points[max(1, above)]
    return math.exp(y0 + (y1 - y0) * (bits - x0) / (x1 - x0))


def in_a_word(kl_nats: float) -> str:
    """Return a loss in a word, for who does not read the figure beside it."""
    if not kl_nats:
        return "none"
    words = {HARDLY: "hardly any", LITTLE: "little", CLEAR: "clear"}
    return next((word for most, word in words.items() if kl_nats <= most), "heavy")
