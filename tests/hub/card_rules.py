"""What the Hub accepts as a model card's metadata, for the local hub's /api/validate-yaml.

Rules, of huggingface.co/docs/hub/model-cards, docs/hub/repositories-licenses and modelcard.md in huggingface/hub-docs:
a YAML mapping between `---` lines; a licence of the list, "other" with its name (and a link or a file); languages by
their ISO 639 codes; base models by their ids, with one of four relations; a task of the list; texts and lists of texts
where these are asked for; and of `model-index` every key that is marked as required.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from lqmf.artifacts.card.licenses import KNOWN

FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w][\w.-]*)?")
RELATIONS = ("adapter", "merge", "quantized", "finetune")
_TASKS = """
text-generation text2text-generation feature-extraction sentence-similarity fill-mask text-classification
token-classification question-answering summarization translation image-text-to-text any-to-any
automatic-speech-recognition text-to-speech image-classification text-to-image
"""
TASKS = frozenset(_TASKS.split())


def problems(content: str) -> tuple[list[str], list[str]]:
    """Errors and warnings for a card."""
    found = FRONT.match(content)
    if found is None:
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        data = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return [f"the metadata is no YAML: {error}"], []
    if not isinstance(data, dict):
        return ["the metadata is no mapping"], []
    return [problem for name, check in CHECKS.items() if name in data for problem in check(data[name], data)], []


def _text(name: str) -> Callable[[Any, Mapping[str, Any]], Iterator[str]]:
    def check(value: Any, data: Mapping[str, Any]) -> Iterator[str]:
        if not isinstance(value, str) or not value:
            yield f'"{name}" must be a string'

    return check


def _texts(name: str, pattern: re.Pattern[str] = re.compile(r".+", re.DOTALL), *, alone: bool = False) -> Any:
    def check(value: Any, data: Mapping[str, Any]) -> Iterator[str]:
        values = [value] if alone and isinstance(value, str) else value
        if not isinstance(values, list):
            yield f'"{name}" must be an array'
        elif any(not isinstance(one, str) or not pattern.fullmatch(one) for one in values):
            yield f'"{name}" has a value that is not right: {values}'

    return check


def _one_of(name: str, known: Any) -> Any:
    def check(value: Any, data: Mapping[str, Any]) -> Iterator[str]:
        if value not in known:
            yield f'"{name}" must be one of {", ".join(sorted(known))}'

    return check


def _license(value: Any, data: Mapping[str, Any]) -> Iterator[str]:
    values = value if isinstance(value, list) else [value]
    if any(one not in KNOWN for one in values):
        yield f'"license" must be one of the list, and is {value}'
    if value == "other" and not re.fullmatch(r"[a-z0-9.+-]+", str(data.get("license_name", ""))):
        yield '"license_name" must name the license that is "other", in small letters'


def _license_link(value: Any, data: Mapping[str, Any]) -> Iterator[str]:
    if data.get("license") != "other":
        yield '"license_link" goes with the license "other"'
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s<>]+|LICENSE(?:\.\w+)?", value):
        yield '"license_link" must be an address, or the name of a LICENSE file'


def _index(value: Any, data: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield '"model-index" must be an array'
        return
    for model in value:
        yield from _needs(model, "model-index[]", name=str, results=list)
        for result in model.get("results") or ():
            yield from _needs(result, "results[]", task=dict, dataset=dict, metrics=list)
            yield from _needs(result.get("task"), "task", type=str)
            yield from _needs(result.get("dataset"), "dataset", type=str, name=str)
            for metric in result.get("metrics") or ():
                yield from _needs(metric, "metrics[]", type=str, value=(int, float, str))


def _needs(value: Any, where: str, /, **fields: Any) -> Iterator[str]:
    for name, kind in fields.items():
        if not isinstance(value, dict) or not isinstance(value.get(name), kind) or value[name] in ("", []):
            yield f'"model-index": {where}.{name} is required'


CHECKS: Mapping[str, Callable[[Any, Mapping[str, Any]], Iterator[str]]] = {
    "license": _license,
    "license_link": _license_link,
    "license_name": _text("license_name"),
    "language": _texts("language", re.compile(r"[a-z]{2,3}|code|multilingual"), alone=True),
    "base_model": _texts("base_model", REPO_ID, alone=True),
    "base_model_relation": _one_of("base_model_relation", RELATIONS),
    "pipeline_tag": _one_of("pipeline_tag", TASKS),
    "library_name": _text("library_name"),
    "tags": _texts("tags"),
    "datasets": _texts("datasets", REPO_ID, alone=True),
    "metrics": _texts("metrics"),
    "model-index": _index,
}
