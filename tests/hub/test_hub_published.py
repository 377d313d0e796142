"""Published GGUF files of a model are found by the Hub's own tags, and only those of this very model."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from lqmf.errors import HubUnavailable, LqmfError, Offline, RateLimited
from lqmf.hub.client import HubClient
from lqmf.hub.published import PublishedGguf, published_ggufs
from tests.hub.conftest import QUICK
from tests.hub.server import LocalHub

GGUF = {"model-Q4_K_M.gguf": b"GGUF"}
EVER = 1 + QUICK.max_retries


def ask(client: HubClient, model: str = "org/name") -> tuple[PublishedGguf, ...]:
    return asyncio.run(published_ggufs(model, hub=client))


def test_the_most_downloaded_of_this_very_model_are_found(hub: LocalHub, client: HubClient) -> None:
    base = {"base_model": "org/name"}
    for n in range(7):
        hub.add_repo(f"someone/name-{n}-GGUF", GGUF, card=base, downloads=10 * n, likes=n)
    hub.add_repo("someone/name-AWQ", {"model.safetensors": b"x"}, card={**base, "base_model_relation": "quantized"})
    hub.add_repo("someone/finetune-GGUF", GGUF, card={**base, "base_model_relation": "finetune"}, downloads=999)
    hub.add_repo("someone/other-GGUF", GGUF, card={"base_model": "org/name-2"}, downloads=999)
    hub.add_repo("someone/secret-GGUF", GGUF, card=base, downloads=999, private=True)
    assert ask(client) == tuple(PublishedGguf(f"someone/name-{n}-GGUF", 10 * n, n) for n in (6, 5, 4, 3, 2))
    assert ask(client, "org/name-2") == (PublishedGguf("someone/other-GGUF", 999, 0),)
    assert ask(client, "org/unknown") == ()


def test_it_is_the_query_of_the_official_client(hub: LocalHub, client: HubClient) -> None:
    from huggingface_hub import HfApi

    hub.add_repo("someone/name-GGUF", GGUF, card={"base_model": ["org/name"]}, downloads=3, likes=2)
    ours = ask(client)
    theirs = HfApi(endpoint=hub.url, token=False).list_models(
        filter=["gguf", "base_model:quantized:org/name"], sort="downloads", limit=5
    )
    assert [(m.id, m.downloads, m.likes) for m in theirs] == [dataclasses.astuple(found) for found in ours]
    assert hub.requests[0].query == hub.requests[1].query
    assert hub.requests[0].path == hub.requests[1].path == "/api/models"


@pytest.mark.parametrize(
    ("fault", "options", "error"),
    [
        ("status", {"status": 500}, HubUnavailable),
        ("status", {"status": 429, "headers": {"Retry-After": "9999"}}, RateLimited),
        ("garbage", {}, HubUnavailable),
    ],
)
def test_a_fault_is_told(
    hub: LocalHub, client: HubClient, fault: str, options: dict[str, object], error: type[LqmfError]
) -> None:
    times = 1 if error is RateLimited or fault == "garbage" else EVER
    hub.fail("/api/models", fault, times=times, **options)
    with pytest.raises(error):
        ask(client)


def test_offline_asks_nobody(hub: LocalHub, client: HubClient) -> None:
    with pytest.raises(Offline):
        ask(dataclasses.replace(client, offline=True))
    with pytest.raises(Offline):
        ask(dataclasses.replace(client, endpoint="http://127.0.0.1:9"))
    assert hub.requests == []
