"""What no method quantizes: models without weights, or with weights that nobody may open. From metadata alone."""

from __future__ import annotations

from lqmf.records import ModelInfo, Verdict

WEIGHTS_REMEDY = "Choose a model, or a revision of it, that has safetensors files."


def unusable(model: ModelInfo) -> Verdict | None:
    """Why `model` has no weights to start from; None where it has."""
    if model.weights_format == "pickle":
        return Verdict("no", "Its weights are pickled Python objects, which can run code when read.", WEIGHTS_REMEDY)
    if model.weights_format == "none":
        return Verdict("no", "It has no weights.", WEIGHTS_REMEDY)
    return None
