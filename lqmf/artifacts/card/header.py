"""Writes the YAML header of a model card, by which the Hugging Face Hub classifies an artifact.

Keys and shapes are those of the Hub's card metadata (huggingface.co/docs/hub/model-cards, and modelcard.md in
huggingface/hub-docs). Every text is written as a JSON string, which is a YAML double-quoted scalar.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lqmf.artifacts.card.licenses import KNOWN
from lqmf.artifacts.card.markdown import plain
from lqmf.declared import methods
from lqmf.quality.measures import MEASURES
from lqmf.records import Artifact, Manifest, ModelRef

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")  # ISO 639, and the Hub's own two
EMBEDS, ANSWERS, CONTINUES = "feature-extraction", "text2text-generation", "text-generation"  # the Hub's tasks
TEXT = "lqmf-evaluation"  # what the Hub is told the figures were measured on


def header(
    artifact: Artifact, manifest: Manifest, receipt: Mapping[str, Any], *, types: Sequence[str] | None = None
) -> str:
    """Return the header with its fences. Languages of the source that are not codes are left out. `types` are those of
    a repository with several, whose figures stand in its table alone."""
    method = methods.of(artifact.method)
    known = [code for code in manifest.languages if LANGUAGE.fullmatch(code)]
    fields: dict[str, str | list[str] | None] = {
        "language": known or None,
        **_license(manifest),
        "library_name": method.library,
        "pipeline_tag": task(receipt),
        "base_model": hub_id(manifest.model),
        "base_model_relation": "quantized" if hub_id(manifest.model) else None,
        "quantized_by": "LQMF",
        "tags": [
            *method.tags,
            "quantized",
            "lqmf",
            *(([artifact.type] if artifact.type else []) if types is None else types),
        ],
    }
    lines = [line for name, value in fields.items() if value for line in _entry(name, value)]
    return "\n".join(["---", *lines, *(_index(artifact, receipt) if types is None else ()), "---"])


def hub_id(model: ModelRef) -> str | None:
    """Return the model's id on the Hub; None for a model that is not from there."""
    return model.id if model.kind == "hub" and HUB_ID.fullmatch(model.id) else None


def task(receipt: Mapping[str, Any]) -> str:
    """Return the model's task in the Hub's words, judged by its receipt."""
    if receipt.get("similarity"):
        return EMBEDS
    return ANSWERS if receipt.get("sequence_loss") else CONTINUES


def _license(manifest: Manifest) -> dict[str, str | list[str] | None]:
    """The source's licence, carried over. A licence that the Hub does not know is "other", with its name and a link."""
    said = plain(manifest.license or "")
    if not said:
        return {}
    if said in KNOWN - {"other"}:
        return {"license": said}
    source = hub_id(manifest.model)
    name = re.sub(r"[^a-z0-9.+-]+", "-", said.lower()).strip("-.") if said != "other" else "license-of-the-base-model"
    link = f"https://huggingface.co/{source}" if source else None
    return {"license": "other", "license_name": name or "unnamed", "license_link": link}


def _entry(name: str, value: str | list[str]) -> list[str]:
    if isinstance(value, str):
        return [f"{name}: {_scalar(value)}"]
    return [f"{name}:", *(f"- {_scalar(item)}" for item in value)]


def _scalar(value: str) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


# ---------------------------------------------------------------- results


def _index(artifact: Artifact, receipt: Mapping[str, Any]) -> Iterator[str]:
    """Yield the Hub's `model-index`: the figures against the source, where they were measured."""
    metrics = list(_metrics(receipt))
    if not metrics:
        return
    text = receipt.get("text") or {}
    yield "model-index:"
    yield f"- name: {_scalar(artifact.name)}"
    yield "  results:"
    yield f'  - task:\n      type: "{task(receipt)}"'
    yield f"    dataset:\n      type: {TEXT}\n      name: {_scalar(_named(text))}"
    if text.get("sha256"):
        yield f"      args:\n        sha256: {_scalar(str(text['sha256']))}"
    yield "    metrics:"
    for kind, name, value in metrics:
        yield f"    - type: {kind}\n      name: {_scalar(name)}\n      value: {value:.6f}"


def _named(text: Mapping[str, Any]) -> str:
    return f"LQMF's built-in text, {text['name']}" if text.get("name") else "LQMF's built-in text"


def _metrics(receipt: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield (id, description, value) of the measures of quality that say which way is better."""
    for one in MEASURES:
        if one.group == "quality" and one.better and (value := one.value(receipt)) is not None:
            yield one.id, one.about, float(value)
