"""Names of models: what they stand for."""

from __future__ import annotations

import pytest

from lqmf.understanding.familiar import CANONICAL
from lqmf.understanding.models import HUB_ID, canonical, is_path


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("Mistral 7B", "mistralai/Mistral-7B-v0.3"),
        ("mistral 7b instruct", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("llama 3 8b", "meta-llama/Meta-Llama-3-8B"),
        ("meta llama 3.1 8B", "meta-llama/Llama-3.1-8B"),
        ("gpt2", "openai-community/gpt2"),
        ("gpt-2 medium", "openai-community/gpt2-medium"),
        ("distilgpt2", "distilbert/distilgpt2"),
        ("phi-2", "microsoft/phi-2"),
        ("TinyLlama", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
        ("opt-125m", "facebook/opt-125m"),
        ("pythia 160m", "EleutherAI/pythia-160m"),
        ("bloom 560m", "bigscience/bloom-560m"),
        ("qwen2.5 0.5b", "Qwen/Qwen2.5-0.5B"),
        ("gemma 2 2b", "google/gemma-2-2b"),
        ("DialoGPT small", "microsoft/DialoGPT-small"),
        ("starcoder2 3b", "bigcode/starcoder2-3b"),
        ("gpt-oss 20b", "openai/gpt-oss-20b"),
        ("codet5", "Salesforce/codet5-base"),
        ("flan-t5 small", "google/flan-t5-small"),
    ],
)
def test_a_familiar_name_stands_for_a_repository(name: str, repository: str) -> None:
    assert canonical(name) == repository


@pytest.mark.parametrize("name", ["nobody-knows-me", "./gpt2", "facebook/opt-125m", ".", "", "demo"])
def test_other_names_stand_for_nothing(name: str) -> None:
    assert canonical(name) is None


def test_every_repository_of_the_table_is_spelled_as_a_hub_id() -> None:
    assert [id_ for id_ in CANONICAL.values() if not HUB_ID.fullmatch(id_)] == []


@pytest.mark.parametrize("text", ["./a", "../a", "/a/b", "~/m", ".", "C:\\models"])
def test_a_path_says_so(text: str) -> None:
    assert is_path(text)


@pytest.mark.parametrize("text", ["models/a", "gpt2", "a.txt"])
def test_a_name_with_a_slash_is_no_path(text: str) -> None:
    assert not is_path(text)
