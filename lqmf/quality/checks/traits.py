"""Reads from a model's files how it is used: the same facts from a GGUF file and from a folder of safetensors.

Vocabulary, special tokens, chat template, context, rope. Reads headers, configurations and tokenizers; no weights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf import workspace
from lqmf.errors import UsageError
from lqmf.fit import formula
from lqmf.model_files import safetensors_folder
from lqmf.model_files.config import text_part
from lqmf.model_files.gguf_files import holds_gguf, model_file
from lqmf.model_files.gguf_header import GgufHeader, read_header
from lqmf.model_files.model_kind import kind_at
from lqmf.model_files.template_check import Rendered, renderings, template_of

Facts = Mapping[str, float | str]
FREQ_BASE, SCALING = "freq_base", "scaling.type"
_TEMPLATE, _TOOLS = "tokenizer.chat_template", "tokenizer.chat_template.tool_use"
_UNSCALED = ("default", "none", "")
_LIKE_GGUF = ("linear", "yarn")  # scalings that both sides tell in the same words


@dataclass(frozen=True)
class Traits:
    """The facts of a model's use. `kind` is "gguf" or "folder". `vocabulary` counts the tokens that can be predicted,
    `known` those that have a text, which `piece` gives. `specials` are token ids by role, `frame` the tokens that the
    tokenizer puts around a text. `ends` are the tokens at which the files say that an answer ends, `stops` says whether
    generation stops at a token; `writes` is False for an encoder. `read` tokenizes a prompt (for an encoder: a text
    without its frame). `rope` holds the facts of rotary positions, by GGUF's names below "rope."; `templates` are chat
    templates by name, and `render` applies them to dialogues."""

    kind: str
    vocabulary: int
    known: int
    piece: Callable[[int], str]
    specials: Mapping[str, int]
    frame: tuple[int, ...]
    ends: frozenset[int]
    stops: Callable[[int], bool]
    writes: bool
    read: Callable[[str], list[int]]
    context_length: int | None
    rope: Facts
    templates: Mapping[str, str]
    render: Callable[[Sequence[Mapping[str, Any]]], list[Rendered]]


@contextlib.contextmanager
def traits(path: Path) -> Iterator[Traits]:
    """Give the traits of the model at `path` while the context is open. Raises NotFound, ModelError; UsageError for
    several GGUF files."""
    writes = kind_at(path) != "encoder"
    if not holds_gguf(path):
        yield _of_folder(path, writes)
        return
    from lqmf.engines.llama.vocabulary import LlamaVocabulary

    file = model_file(path)
    with LlamaVocabulary(file) as words:
        yield _of_gguf(read_header(file), words, writes)


# ---------------------------------------------------------------- GGUF


def _of_gguf(header: GgufHeader, words: Any, writes: bool) -> Traits:
    said = header.metadata
    specials = words.specials
    templates = {name: str(said[key]) for name, key in (("default", _TEMPLATE), ("tool_use", _TOOLS)) if key in said}
    marks = {role: words.piece(specials[role]) if role in specials else "" for role in ("bos", "eos")}
    return Traits(
        kind="gguf",
        vocabulary=words.vocabulary,
        known=words.vocabulary,
        piece=words.piece,
        specials=specials,
        frame=tuple(words.add_special_tokens([])),
        ends=frozenset(specials[role] for role in ("eos", "eot") if role in specials),
        stops=words.ends,
        writes=writes,
        read=words.prompt if writes else words.plain,
        context_length=_whole(said.get(f"{header.architecture}.context_length")),
        rope=rope_of_gguf(header),
        templates=templates,
        render=lambda dialogues: _rendered(templates, dialogues, marks),
    )


def rope_of_gguf(header: GgufHeader) -> dict[str, float | str]:
    """Return the header's facts below "<architecture>.rope.", with llama.cpp's defaults for facts that are missing;
    empty where there is no such key at all, as in models without rotary positions."""
    start = f"{header.architecture}.rope."
    said = {key.removeprefix(start): value for key, value in header.metadata.items() if key.startswith(start)}
    if not said:
        return {}
    facts: dict[str, float | str] = {FREQ_BASE: 10000.0, SCALING: "none"}
    if (dimensions := _head(header)) is not None:
        facts["dimension_count"] = dimensions
    return facts | {key: value for key, value in said.items() if isinstance(value, int | float | str)}


def _head(header: GgufHeader) -> int | None:
    arch, said = header.architecture, header.metadata
    told = _whole(said.get(f"{arch}.attention.key_length"))
    width, heads = _whole(said.get(f"{arch}.embedding_length")), _whole(said.get(f"{arch}.attention.head_count"))
    return told or (width // heads if width and heads else None)


def _rendered(
    templates: Mapping[str, str], dialogues: Sequence[Mapping[str, Any]], marks: Mapping[str, str]
) -> list[Rendered]:
    """Each dialogue through the template that serves it. Templates are code of strangers: they run in a process of
    their own."""
    chosen = ["tool_use" if one.get("tools") and "tool_use" in templates else "default" for one in dialogues]
    made: dict[int, Rendered] = {}
    for name in dict.fromkeys(chosen):
        places = [place for place, wanted in enumerate(chosen) if wanted == name]
        texts = renderings(templates[name], [dialogues[place] for place in places], **marks)
        made.update(zip(places, texts, strict=True))
    return [made[place] for place in range(len(dialogues))]


# ---------------------------------------------------------------- folders


def _of_folder(folder: Path, writes: bool) -> Traits:
    from lqmf.engines.transformers.tokenizer import HfTokens

    words, config = HfTokens(folder), _config(folder)
    generation = workspace.kept_json(folder / "generation_config.json")
    ends = words.ends(config.get("eos_token_id"), generation.get("eos_token_id"))
    template = template_of(folder)
    text = text_part(config)
    return Traits(
        kind="folder",
        vocabulary=int(text.get("vocab_size") or words.known),
        known=words.known,
        piece=words.piece,
        specials=words.specials,
        frame=tuple(words.add_special_tokens([])),
        ends=words.ends_said(config.get("eos_token_id"), generation.get("eos_token_id")),
        stops=lambda token: token in ends,
        writes=writes,
        read=words.prompt if writes else words.tokenize,
        context_length=formula.trained_context(config),
        rope=rope_of_config(text),
        templates={"default": template} if template else {},
        render=lambda dialogues: _by_transformers(words, template, dialogues),
    )


def _by_transformers(words: Any, template: str, dialogues: Sequence[Mapping[str, Any]]) -> list[Rendered]:
    """Each dialogue as the tokenizer itself renders it, by transformers' own code, for which templates are written;
    only after a process of its own has shown that the template comes to an end."""
    marks = {role: words.piece(words.specials[role]) if role in words.specials else "" for role in ("bos", "eos")}
    tried = renderings(template, dialogues, **marks)
    return tried if any(each.endless for each in tried) else [_one(words, each) for each in dialogues]


def _one(words: Any, dialogue: Mapping[str, Any]) -> Rendered:
    try:
        return Rendered(words.render_dialogue(**dialogue))
    except UsageError as error:
        return Rendered(None, error.message)


def _config(folder: Path) -> dict[str, Any]:
    """config.json with transformers' defaults filled in where it knows the model; its Python is never run."""
    from transformers import AutoConfig

    said = safetensors_folder.config(folder)
    try:
        filled = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).to_dict()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return said
    return {**said, **filled}


def rope_of_config(config: Mapping[str, Any]) -> dict[str, float | str]:
    """Return a configuration's facts of rotary positions by GGUF's names, from the older spelling (rope_theta,
    rope_scaling) or the newer one (rope_parameters). Facts that only transformers knows keep their names below
    "scaling."; empty where the configuration has neither spelling."""
    if not any(config.get(key) for key in ("rope_theta", "rope_scaling", "rope_parameters")):
        return {}
    told = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    if isinstance(inner := told.get("full_attention"), Mapping):  # apart by kind of layer
        told = dict(inner)
    kind = str(told.pop("rope_type", None) or told.pop("type", None) or "none")
    facts: dict[str, float | str] = {SCALING: "none" if kind in _UNSCALED else kind}
    base = told.pop("rope_theta", None) or config.get("rope_theta")
    if base is not None:
        facts[FREQ_BASE] = float(base)
    if (dimensions := _dimensions(config, told)) is not None:
        facts["dimension_count"] = dimensions
    renamed = {"original_max_position_embeddings": "original_context_length"}
    for name, value in told.items():
        if isinstance(value, int | float | str) and name not in ("type", "partial_rotary_factor"):
            facts[f"scaling.{renamed.get(name, name)}"] = value
    return facts


def _dimensions(config: Mapping[str, Any], told: Mapping[str, Any]) -> int | None:
    if config.get("qk_rope_head_dim"):
        return _whole(config["qk_rope_head_dim"])
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    head = config.get("head_dim") or (width // heads if isinstance(width, int) and isinstance(heads, int) else None)
    share = told.get("partial_rotary_factor") or config.get("partial_rotary_factor") or config.get("rotary_pct") or 1
    return int(head * share) if isinstance(head, int) else None


def comparable(source: Traits, artifact: Traits) -> list[str]:
    """Return the names of rope facts that both models state in the same form: all facts of two models of one kind; of a
    folder and a GGUF only those that the converter copies unchanged."""
    if source.kind == artifact.kind:
        return sorted({*source.rope, *artifact.rope})
    same = {FREQ_BASE, "dimension_count"}
    if source.rope.get(SCALING, "none") in ("none", *_LIKE_GGUF):
        same |= {SCALING}
    if source.rope.get(SCALING) in _LIKE_GGUF:
        same |= {"scaling.factor", "scaling.original_context_length"}
    return sorted(same & source.rope.keys())


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
