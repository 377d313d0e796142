"""The models that no method quantizes: those without weights, and those whose weights are pickled Python objects. Reads
metadata alone."""

from __future__ import annotations

from lqmf.records import ModelInfo, Verdict

WEIGHTS_REMEDY = "Choose a model, or a revision of it, that has safetensors files."


def unusable(model: ModelInfo) -> Verdict | None:
    """Return the refusal of a `model` that has no weights, or only pickled weights; None for any other."""
    if model.weights_format == "pickle":
        return Verdict("no", "Its weights are pickled Python objects, which can run code when read.", WEIGHTS_REMEDY)
    if model.weights_format == "none":
        return Verdict("no", "It has no weights.", WEIGHTS_REMEDY)
    return None
