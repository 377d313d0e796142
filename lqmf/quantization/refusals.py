"""The models that no method quantizes: those without weights, with pickled Python objects for weights, or without the
name of an architecture. Reads metadata alone."""

from __future__ import annotations

from lqmf import installed
from lqmf.model_files.config import Config
from lqmf.records import ModelInfo, Verdict

WEIGHTS_REMEDY = "Choose a model, or a revision of it, that has safetensors files."


def unusable(model: ModelInfo) -> Verdict | None:
    """Return the refusal of a `model` that has no weights, only pickled weights, or no architecture; None for any
    other."""
    if model.weights_format == "pickle":
        return Verdict("no", "Its weights are pickled Python objects, which can run code when read.", WEIGHTS_REMEDY)
    if model.weights_format == "none":
        return Verdict("no", "It has no weights.", WEIGHTS_REMEDY)
    if model.architecture is None and not model.config.get("architectures"):
        return unnamed(model.config)
    return None


def unnamed(config: Config) -> Verdict:
    """Return the refusal of a model whose config.json names no class; the remedy names the class that transformers
    takes for its `model_type`."""
    classes = installed.table("transformers", "models/auto/modeling_auto.py", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")
    names = classes.get(str(config.get("model_type")), frozenset())
    if not names:
        return Verdict("no", "Its config.json names no architecture.", "Choose a model with a complete config.json.")
    name = min(names)
    reason = f"Its config.json names no architecture; transformers takes a {config['model_type']} for {name}."
    return Verdict("no", reason, f'Add the line `"architectures": ["{name}"],` to config.json.')
