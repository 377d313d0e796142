"""The names that a package with a quantization backend imports. Its class keeps the promise `Backend` and declares a
`Method`.

The functions that the chat calls import nothing heavy; `quantize` runs in the worker process.
"""

from __future__ import annotations

from lqmf.declared.methods import Method, Phrase
from lqmf.engines.transformers.loading import translated
from lqmf.errors import LqmfError, UnsupportedModel, UsageError
from lqmf.events import Emit, stage
from lqmf.fit.formula import (
    Stored,
    TensorRule,
    linear,
    other_weights,
)
from lqmf.fit.needs import Needs
from lqmf.installed import verdict, versions
from lqmf.model_files.safetensors_header import TensorShape
from lqmf.quantization.parameters import Parameter, settled
from lqmf.quantization.promise import Backend, Built, Source
from lqmf.quantization.transformers_models import (
    copy_beside,
    dtype,
    ends,
    files,
    limit_gpu,
    needs,
    refusal,
    refuse_wishes,
    tensors,
)
from lqmf.records import (
    Estimate,
    Hardware,
    ModelInfo,
    QuantizationPlan,
    QuantType,
    Verdict,
)

__all__ = [
    "Backend",
    "Built",
    "Emit",
    "Estimate",
    "Hardware",
    "LqmfError",
    "Method",
    "ModelInfo",
    "Needs",
    "Parameter",
    "Phrase",
    "QuantType",
    "QuantizationPlan",
    "Source",
    "Stored",
    "TensorRule",
    "TensorShape",
    "UnsupportedModel",
    "UsageError",
    "Verdict",
    "copy_beside",
    "dtype",
    "ends",
    "files",
    "limit_gpu",
    "linear",
    "needs",
    "other_weights",
    "refusal",
    "refuse_wishes",
    "settled",
    "stage",
    "tensors",
    "translated",
    "verdict",
    "versions",
]
