"""The client of the Hub: the real huggingface_hub client, run in threads, with its errors translated.

Knows addresses, headers and when it is offline; knows nothing of the files that make up a model. The environment
(HF_ENDPOINT, HF_HUB_OFFLINE) is read at each call, not at import.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from lqmf.errors import Offline, UnsafeFormat
from lqmf.hub import auth, translate
from lqmf.hub.translate import Subject
from lqmf.model_files.refs import printable
from lqmf.retry import RetryPolicy

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo as HubModelInfo
    from huggingface_hub.hf_api import RepoFile

T = TypeVar("T")
WITHOUT_NETWORK = "`lqmf plan --memory 8GB` says what size of model fits, without a network."


def _stored_token() -> str | None:
    return auth.token()[0]


@dataclass(frozen=True)
class HubClient:
    """A client of one Hub. `endpoint` and `offline` override the environment; `token_provider` is called before each
    request."""

    endpoint: str | None = None
    token_provider: Callable[[], str | None] = field(default=_stored_token, repr=False)
    offline: bool | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_seconds: float = 30.0

    def base_url(self) -> str:
        """Return the Hub's address, without a slash at its end."""
        return (self.endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")

    def is_offline(self) -> bool:
        """Return whether the user forbade the network (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE)."""
        if self.offline is not None:
            return self.offline
        return translate.offline_by_environment()

    def headers(self) -> dict[str, str]:
        """Return the headers of a request to the Hub itself: the user agent, and the token where there is one."""
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        return build_hf_headers(token=self.token_provider() or False, library_name="lqmf")

    def file_url(self, model: str, path: str, commit: str) -> str:
        """Return the Hub's address of the file `path` at a commit."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(model, path, revision=commit, endpoint=self.base_url())

    def subject(self, model: str = "", revision: str | None = None, path: str | None = None) -> Subject:
        """Return the subject of a request (model, revision, file), which errors name."""
        return Subject(_shown(self.base_url()), model, revision, path, with_token=bool(self.token_provider()))

    async def model_info(self, model: str, revision: str | None) -> HubModelInfo:
        """Fetch the Hub's description of a model, with every file's size and hashes. Raises the transfer and model
        errors."""
        try:
            return await self._ask(
                lambda api: api.model_info(model, revision=revision, files_metadata=True, timeout=self.timeout_seconds),
                self.subject(model, revision),
            )
        except Offline as error:
            raise Offline(error.message, f"{error.remedy} {WITHOUT_NETWORK}", **error.details) from None

    async def files(self, model: str, commit: str) -> list[RepoFile]:
        """Fetch the list of every file at a commit, page by page, with sizes and hashes. Raises the transfer and model
        errors."""
        from huggingface_hub.hf_api import RepoFile

        return await self._ask(
            lambda api: [f for f in api.list_repo_tree(model, revision=commit) if isinstance(f, RepoFile)],
            self.subject(model, commit),
        )

    async def most_downloaded(self, tags: Sequence[str], limit: int, about: str) -> list[Mapping[str, Any]]:
        """Fetch the public models that have all of `tags`, most downloaded first, at most `limit`.

        The query is that of `HfApi.list_models`, but sent from here: `list_models` tries again for half a minute when
        there is no network. `about` is the model that an error names. Raises the transfer and model errors.
        """

        def read(_api: HfApi) -> list[Mapping[str, Any]]:
            from huggingface_hub.utils import get_session, hf_raise_for_status  # type: ignore[attr-defined]

            query: dict[str, str | int | list[str]] = {"filter": list(tags), "sort": "downloads", "limit": limit}
            url = f"{self.base_url()}/api/models"
            response = get_session().get(url, params=query, headers=self.headers(), timeout=self.timeout_seconds)
            hf_raise_for_status(response)
            told = response.json()
            if not isinstance(told, list) or not all(isinstance(entry, dict) for entry in told):
                raise ValueError("no list of models")
            return told[:limit]

        return await self._ask(read, self.subject(about))

    async def read_small(self, model: str, path: str, commit: str, limit_bytes: int = 32 << 20) -> bytes:
        """Fetch the bytes of a small file. Raises UnsafeFormat when there are more than `limit_bytes`, and the transfer
        errors."""

        def read(_api: HfApi) -> bytes:
            from huggingface_hub.utils import get_session, hf_raise_for_status  # type: ignore[attr-defined]

            url = self.file_url(model, path, commit)
            with get_session().stream("GET", url, headers=self.headers(), timeout=self.timeout_seconds) as response:
                hf_raise_for_status(response)
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > limit_bytes:
                        raise _too_long(path, limit_bytes)
            return bytes(body)

        return await self._ask(read, self.subject(model, commit, path))

    async def _ask(self, call: Callable[[HfApi], T], subject: Subject) -> T:
        def once() -> T:
            from huggingface_hub import HfApi

            if self.is_offline():
                raise translate.offline(subject)
            with translate.translated(subject):
                api = HfApi(endpoint=self.base_url(), token=self.token_provider() or False, library_name="lqmf")
                return call(api)

        return await self.retry.run(
            lambda: asyncio.to_thread(once),
            worth=lambda error: error.transient and not isinstance(error, Offline),
        )


def _shown(url: str) -> str:
    """Return the address without a user's password, for errors."""
    scheme, slashes, rest = url.rpartition("://")
    return scheme + slashes + rest.rpartition("@")[2]


def _too_long(path: str, limit_bytes: int) -> UnsafeFormat:
    return UnsafeFormat(
        f"{printable(path)} is longer than {limit_bytes >> 20} MiB, which no real model's is.",
        "Use another repository of this model.",
    )
