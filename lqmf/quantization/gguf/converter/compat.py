"""The keys that the converter expects in a configuration and that newer transformers releases no longer give.

The converter reads config.json through transformers, which renames keys (`rotary_pct` of GPT-NeoX), drops others
(`n_ctx` of GPT-2) and fills in defaults that mean something else (`num_kv_heads` of Falcon). Pure; knows no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lqmf.engines.transformers.tokenizer import KNOWN_ENDS

PREDICTION_LAYERS = ("num_nextn_predict_layers", "mtp_num_hidden_layers")  # keys that number them
EMBEDDING = "embed_tokens.weight"
LAST_NORM = "decoder.final_layer_norm.weight"  # of T5, before its predictions
# by libllama's architecture: every how many layers one sees the whole context, of a file that does not say
WINDOWS_BUT_EVERY: Mapping[str, int] = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2}
LLAMA_CPP_ROPE_BASE = 10000.0  # what libllama assumes of a file that does not say (llama-model.cpp)


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `config` with the older keys that the converter looks for; of Falcon, `num_kv_heads` is
    corrected."""
    made = dict(config)
    rope = made.get("rope_parameters") or {}
    if "partial_rotary_factor" in rope:
        made.setdefault("rotary_pct", rope["partial_rotary_factor"])
    if "n_positions" in made:
        made.setdefault("n_ctx", made["n_positions"])
    if made.get("model_type") == "falcon" and made.get("multi_query") and not made.get("new_decoder_architecture"):
        made["num_kv_heads"] = 1  # all heads share one key and value; transformers ignores the number here
    return made


def without_prediction_layers(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `config` that names no layers which predict further tokens."""
    none = dict.fromkeys((key for key in PREDICTION_LAYERS if key in config), 0)
    inner = config.get("text_config")
    parts = {"text_config": without_prediction_layers(inner)} if isinstance(inner, Mapping) else {}
    return {**config, **none, **parts}


def merge_scores(vocabulary: Mapping[str, int], merges: Iterable[str | Sequence[str]]) -> dict[int, float]:
    """Return the scores with which SentencePiece's rule joins the pairs that `merges` names, in their order: a token's
    is the more negative, the later it is first made. libllama reads a tokenizer of Llama's kind by that rule, and
    tokenizer.json has no scores."""
    found: dict[int, float] = {}
    for rank, merge in enumerate(merges):
        one, other = merge.split(" ", 1) if isinstance(merge, str) else merge
        if (token := vocabulary.get(one + other)) is not None:
            found.setdefault(token, -float(rank))
    return found


def unsaid_rope_base(config: Mapping[str, Any]) -> float | None:
    """Return the rope base that a file must state; None if libllama's own assumption is right, or if the model has no
    rope."""
    rope = config.get("rope_parameters") or {}
    base = rope.get("rope_theta")
    return float(base) if isinstance(base, int | float) and float(base) != LLAMA_CPP_ROPE_BASE else None


def unsaid_windows(architecture: str, config: Mapping[str, Any]) -> list[bool] | None:
    """Which layers look at a sliding window, where libllama's own order for this architecture is another; None where a
    file need not say it, or none does (of which libllama makes nothing)."""
    said, number = config.get("layer_types"), WINDOWS_BUT_EVERY.get(architecture)
    if number is None or not isinstance(said, list | tuple):
        return None
    found = [kind == "sliding_attention" for kind in said]
    return None if not any(found) or found == [(place + 1) % number != 0 for place in range(len(found))] else found


def further_ends(said: Iterable[Any], eos: int | None, words: Sequence[str]) -> list[int]:
    """The tokens at which an answer ends, by configurations that `said` one or several, besides `eos` and those that
    libllama knows by their names among `words`."""
    found = [one for each in said for one in (each if isinstance(each, list | tuple) else [each])]
    ends = dict.fromkeys(one for one in found if isinstance(one, int) and 0 <= one < len(words) and one != eos)
    return [one for one in ends if words[one] not in KNOWN_ENDS]


def unsaid_scale(config: Mapping[str, Any]) -> float | None:
    """Return the factor by which a T5 that shares its embedding multiplies its decoder's outputs (transformers'
    `scale_decoder_outputs`), and which libllama leaves out (src/models/t5.cpp); None if there is no such factor.
    Without it the greedy choice is the same, but every probability is different. Multiplied into the last norm, which
    comes right before, it is exact."""
    t5 = config.get("model_type") == "t5" and config.get("d_model")
    shared = config.get("scale_decoder_outputs", config.get("tie_word_embeddings") is not False)
    return float(config["d_model"]) ** -0.5 if t5 and shared else None
