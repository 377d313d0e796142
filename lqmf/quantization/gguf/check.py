"""The verdict on whether a model can become a GGUF of a given type, from metadata: no weights, no network, no heavy
imports."""

from __future__ import annotations

from collections.abc import Mapping

from lqmf.model_files import gguf_types, prequantized
from lqmf.model_files.config import is_mixture
from lqmf.model_files.model_kind import model_kind
from lqmf.quantization.gguf.converter import ignored
from lqmf.quantization.gguf.converter.source import architecture_of
from lqmf.quantization.refusals import unusable
from lqmf.records import ModelInfo, Verdict

_CLASSIFIERS = ("ForSequenceClassification", "ForTokenClassification", "TokenizerDec")
_SENTENCEPIECE = ("spiece.model", "tokenizer.model")  # what `T5Model.set_vocab` of conversion/t5.py reads


def check(model: ModelInfo, type: str | None, architectures: Mapping[str, str] | None) -> Verdict:
    """Return the verdict on `model` as `type` (None: as some type). `architectures` are those that the converter knows;
    None if the converter is not on this machine yet.

    Raises UsageError for a type that GGUF does not have.
    """
    if (refusal := _refusal(model, type, architectures)) is not None:
        return refusal
    doubts = list(_doubts(model, type, architectures))
    if doubts:
        return Verdict(
            "but", " ".join(reason for reason, _ in doubts), " ".join(filter(None, (way for _, way in doubts)))
        )
    return Verdict("yes", f"llama.cpp knows {architecture(model)}.")


def architecture(model: ModelInfo) -> str | None:
    """Return the name of the architecture by which the converter reads the model; None if there is none."""
    return architecture_of(model.config) or model.architecture


def _refusal(model: ModelInfo, type: str | None, architectures: Mapping[str, str] | None) -> Verdict | None:
    if type is not None:
        gguf_types.known(type)
    if (refusal := unusable(model)) is not None:
        return refusal
    if not model.has_tokenizer:
        return Verdict("no", "It has no tokenizer, which a GGUF must hold.", "Choose a model that has one.")
    if type == gguf_types.AUTO and model_kind(model.architecture, model.model_type, model.config) != "decoder":
        reason = "A mix of types is chosen by how much worse a model continues text, which it does not."
        return Verdict("no", reason, "Choose a type, such as Q4_K_M.")
    refusal = _architecture_refusal(architecture(model), architectures) or _tokenizer_refusal(model, architectures)
    refusal = refusal or prequantized.unreadable(model.config) or prequantized.frozen(model.config, type)
    return refusal or ignored.refusal(model.config)


def _architecture_refusal(name: str | None, architectures: Mapping[str, str] | None) -> Verdict | None:
    if name is None or architectures is None:
        return None
    if name not in architectures:
        return Verdict("no", f"llama.cpp does not know the architecture {name}.", "Try another method: gptq or bnb.")
    if name.endswith(_CLASSIFIERS):
        reason = f"{name} sorts texts, and what a GGUF of it would answer cannot be measured here."
        return Verdict("no", reason, "Take the model that it was made from.")
    return None


def _tokenizer_refusal(model: ModelInfo, architectures: Mapping[str, str] | None) -> Verdict | None:
    """Return the refusal of a tokenizer that the converter cannot read, for architectures whose tokenizers are
    special."""
    module, names = (architectures or {}).get(architecture(model) or ""), {file.path for file in model.files}
    if module == "t5" and names and names.isdisjoint(_SENTENCEPIECE):
        reason = "llama.cpp's converter reads a T5's tokenizer as SentencePiece alone, and it has another kind."
        return Verdict("no", reason, f"A version of it with {' or '.join(_SENTENCEPIECE)} would do.")
    if module == "chatglm" and model.wants_remote_code:
        reason = "Its tokenizer is Python code of the repository's own, which is not run."
        return Verdict("no", reason, "Take its version for transformers (its name ends in -hf), where there is one.")
    return None


def _doubts(model: ModelInfo, type: str | None, architectures: Mapping[str, str] | None) -> list[tuple[str, str]]:
    doubts: list[tuple[str, str]] = []
    if architectures is None:
        reason = f"Whether llama.cpp knows {architecture(model)} is unknown until its converter is fetched."
        doubts.append((reason, "`lqmf doctor --fix` fetches it."))
    if model.wants_remote_code:
        reason = (
            "It brings its own Python code, which is not run; if its tokenizer needs that code, conversion is refused."
        )
        doubts.append((reason, ""))
    if prequantized.quantized(model.config):
        doubts.append(("Its weights are quantized already, so quality starts from there.", ""))
    if model.config.get("vision_config") or model.config.get("audio_config"):
        doubts.append(("Only its text part is converted.", ""))
    for warning in (ignored.window_warning(model.config), ignored.untruncated_warning(model.config)):
        if warning is not None:
            doubts.append((warning, ""))
    if type == "MXFP4_MOE" and not is_mixture(model.config):
        doubts.append(("MXFP4_MOE is for mixtures of experts; the rest of a model becomes Q8_0.", ""))
    return doubts
