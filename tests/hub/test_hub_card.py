"""huggingface_hub's own validation accepts the model cards; the local hub that it asks refuses what the Hub would."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from huggingface_hub import HfApi, ModelCard, constants

from lqmf.artifacts.card.model_card import model_card
from lqmf.records import ModelRef
from tests.artifacts.test_model_card import ARTIFACT, DOMAINS, HOSTILE, MANIFEST, RECEIPT
from tests.hub.server import LocalHub


@pytest.fixture
def validate(hub: LocalHub, monkeypatch: pytest.MonkeyPatch):
    """`validate(card)` as huggingface_hub does it before a push. Raises ValueError for a card that is refused."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)

    def ask(card: str) -> None:
        before = len(hub.requests)
        ModelCard(card, ignore_metadata_errors=False).validate()
        assert [request.path for request in hub.requests[before:]] == ["/api/validate-yaml"]

    return ask


@pytest.mark.parametrize(
    ("license", "header"),
    [
        ("apache-2.0", 'license: "apache-2.0"'),
        ("llama3.1", 'license: "llama3.1"'),
        ("other", 'license: "other"\nlicense_name: "license-of-the-base-model"'),
        ("Tongyi Qianwen", 'license: "other"\nlicense_name: "tongyi-qianwen"'),
        ("...", 'license: "other"\nlicense_name: "unnamed"'),
        (None, "library_name"),
    ],
)
def test_a_licence_is_carried_over_in_the_hubs_own_spelling(validate: Any, license: str | None, header: str) -> None:
    card = model_card(ARTIFACT, dataclasses.replace(MANIFEST, license=license), RECEIPT)
    assert header in card
    validate(card)


@pytest.mark.parametrize("method", ["gguf", "gptq", "bnb"])
@pytest.mark.parametrize("kind", ["hub", "local", "demo"])
def test_every_method_and_source_gives_a_card_that_is_accepted(validate: Any, method: str, kind: Any) -> None:
    artifact = dataclasses.replace(ARTIFACT, method=method, type="" if method == "gptq" else "nf4")
    manifest = dataclasses.replace(MANIFEST, model=ModelRef(kind, "org/model"), languages=("en", "not a code", "deu"))
    for receipt in (None, RECEIPT, {**dataclasses.asdict(RECEIPT), "domains": DOMAINS}):
        card = model_card(artifact, manifest, receipt)
        validate(card)
        assert ModelCard(card).data.to_dict()["language"] == ["en", "deu"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_makes_no_card_that_is_refused(validate: Any, name: str) -> None:
    artifact = dataclasses.replace(ARTIFACT, name=name, type=name)
    manifest = dataclasses.replace(MANIFEST, model=ModelRef("hub", name), license=name, languages=(name,))
    validate(model_card(artifact, manifest, RECEIPT))


@pytest.mark.parametrize(
    "header",
    [
        "license: my-own",
        "license: other",
        "license: mit\nlicense_link: https://example.org",
        "license: other\nlicense_name: mine\nlicense_link: see the file",
        "base_model: not an id at all",
        "base_model_relation: quantised",
        "pipeline_tag: writing",
        "language: English",
        "tags: gguf",
        "model-index: []",
        "model-index:\n- name: m\n  results:\n  - task: {type: text-generation}\n    metrics: [{type: x, value: 1}]",
        "model-index:\n- name: m\n  results:\n  - {task: {type: x}, dataset: {type: x, name: y}, metrics: [{type: z}]}",
    ],
)
def test_what_the_hub_documents_as_wrong_is_refused_here_too(hub: LocalHub, header: str) -> None:
    """As it is checked before an upload of a README.md: word for word, where a ModelCard would mend some of it."""
    with pytest.raises(ValueError, match="Invalid metadata"):
        HfApi(endpoint=hub.url)._validate_yaml(f"---\n{header}\n---\n# m\n")
