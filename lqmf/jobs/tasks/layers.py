"""Measures a GGUF artifact by layer, as the worker's task: how much of the source's predictions each tensor loses.

Knows files and texts; `lqmf.quantization.gguf.mix.layer_losses` does the work.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lqmf.errors import MeasurementError
from lqmf.events import Emit
from lqmf.ggml import library
from lqmf.model_files.gguf_files import model_file
from lqmf.quantization.gguf.mix import layer_losses
from lqmf.records import Task


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Measure the loss of each tensor of a GGUF artifact, in nats of KL divergence a token.

    `params`: {"artifact": folder or file, "base": its source as a GGUF, "text": path}.

    Returns {"tensors": [{"name", "type", "kl_nats", "standard_error", "group": names, where it shares its figure with
    others}], "all_kl_nats", "windows", "window_tokens", "tokens_evaluated", "base", "text": {"name", "sha256"},
    "engine"}. Raises MeasurementError for an artifact that is no GGUF, and the errors of `layer_losses.measure`.
    """
    artifact, base, text = (Path(task.params[name]) for name in ("artifact", "base", "text"))
    if base.suffix != ".gguf":
        raise MeasurementError(
            "Only GGUF artifacts can be measured by layer.", "`lqmf test NAME` measures it as a whole."
        )
    losses = layer_losses.measure(model_file(artifact), base, text, emit)
    told = {"name": text.stem, "sha256": hashlib.sha256(text.read_bytes()).hexdigest()}
    return layer_losses.document(losses, told, library.version())
