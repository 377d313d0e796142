"""Tells the kind of a model by its names alone: a decoder continues text, an encoder reads text, an encoder-decoder
answers a text with another text. Knows configurations and GGUF headers; no engine and no weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lqmf.model_files import safetensors_folder
from lqmf.model_files.gguf_files import holds_gguf, model_file
from lqmf.model_files.gguf_header import read_header

Nature = Literal["decoder", "encoder", "encoder-decoder"]

ENCODERS = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "EncoderModel")  # ends of names
ENCODER_TYPES = frozenset((
    "albert", "bert", "camembert", "convbert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "eurobert",
    "flaubert", "funnel", "ibert", "longformer", "megatron-bert", "mobilebert", "modernbert", "mpnet", "nomic_bert",
    "nystromformer", "roberta", "roberta-prelayernorm", "roformer", "squeezebert", "xlm", "xlm-roberta",
    "xlm-roberta-xl", "xlnet", "xmod", "yoso",
))  # fmt: skip
WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
# general.architecture of GGUF files (llama-arch.cpp of llama.cpp, as in llama-cpp-python 0.3.36)
_GGUF: Mapping[str, Nature] = {
    **dict.fromkeys(
        (
            "bert", "eurobert", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert",
            "nomic-bert-moe", "t5encoder",
        ),
        "encoder",
    ),
    "t5": "encoder-decoder",
}  # fmt: skip


def model_kind(architecture: str | None, model_type: str | None, config: Mapping[str, Any]) -> Nature:
    """Return the kind of the model whose config names `architecture` ("T5ForConditionalGeneration") and `model_type`
    ("t5")."""
    name = str(architecture or "")
    if name.endswith(ENCODERS) or (model_type in ENCODER_TYPES and not name.endswith(WRITERS)):
        return "encoder"
    return "encoder-decoder" if config.get("is_encoder_decoder") else "decoder"


def kind_at(path: Path) -> Nature:
    """Return the kind of the model at `path`: a GGUF file, or a folder of GGUF or safetensors files. Raises ModelError,
    NotFound, UsageError for a folder with several GGUF models."""
    if holds_gguf(path):
        return _GGUF.get(str(read_header(model_file(path)).architecture), "decoder")
    config = safetensors_folder.config(path)
    names = config.get("architectures")
    return model_kind(str(names[0]) if isinstance(names, list) and names else None, config.get("model_type"), config)
