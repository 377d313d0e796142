"""Finds GGUF files of a model that somebody already publishes on the Hub. Knows how the Hub tags them; fetches no file.

The Hub tags a repository with GGUF files `gguf`. If its card names the quantized model as `base_model`, the Hub also
tags it `base_model:quantized:<id>`, by which a model's page links to its quantizations
(https://huggingface.co/models?other=base_model:quantized:openai/gpt-oss-20b). A repository whose card names no base is
missed.
"""

from __future__ import annotations

from dataclasses import dataclass

from lqmf.hub.client import HubClient
from lqmf.model_files.refs import is_repo_id

_MOST = 5


@dataclass(frozen=True)
class PublishedGguf:
    """A repository with GGUF files of a model. `downloads` are those of the last 30 days, as the Hub counts them."""

    id: str
    downloads: int
    likes: int


async def published_ggufs(model_id: str, *, hub: HubClient) -> tuple[PublishedGguf, ...]:
    """Fetch the repositories with GGUF files of the model: the five most downloaded, best first; empty where there is
    none.

    Raises Offline, RateLimited, HubUnavailable, ConnectionBroken, Unauthorized.
    """
    tags = ("gguf", f"base_model:quantized:{model_id}")
    told = await hub.most_downloaded(tags, _MOST, about=model_id)
    found = ((entry.get("id"), entry.get("downloads"), entry.get("likes")) for entry in told)
    return tuple(
        PublishedGguf(name, downloads if isinstance(downloads, int) else 0, likes if isinstance(likes, int) else 0)
        for name, downloads, likes in found
        if isinstance(name, str) and is_repo_id(name)
    )
