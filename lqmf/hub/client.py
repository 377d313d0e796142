"""The client of the Hub: huggingface_hub's session, its answers read within limits and its errors translated.

Knows addresses, headers and when it is offline; knows nothing of the files that make up a model. The environment
(HF_ENDPOINT, HF_HUB_OFFLINE) is read at each call, not at import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from lqmf.errors import HubSilent, Offline, UnsafeFormat
from lqmf.hub import answers, auth, translate
from lqmf.hub.answers import Answered, Described, Query, TooLong, TreeEntry
from lqmf.hub.translate import Subject
from lqmf.model_files.refs import printable
from lqmf.records import from_text
from lqmf.retry import RetryPolicy

T = TypeVar("T")
MOST_PAGES = 1000  # of a list of files
NEXT_PAGE = re.compile(r'<([^<>]{1,2000})>\s*;\s*rel="next"')
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
    timeout_seconds: float = 20.0  # until the first byte of an answer

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

    async def model_info(self, model: str, revision: str | None) -> Described:
        """Fetch the Hub's description of a model, with every file's size and hashes. Raises the transfer and model
        errors."""
        place = f"{self.base_url()}/api/models/{model}" + (f"/revision/{quote(revision, safe='')}" if revision else "")
        subject = self.subject(model, revision)

        def read(answered: Answered) -> Described:
            body, _ = self._get(place, subject, answered, query={"blobs": "true"})
            return from_text(Described, body)

        try:
            return await self._ask(read, subject)
        except (Offline, HubSilent) as error:
            raise type(error)(error.message, f"{error.remedy} {WITHOUT_NETWORK}", **error.details) from None

    async def files(self, model: str, commit: str) -> list[TreeEntry]:
        """Fetch the list of every file at a commit, page by page, with sizes and hashes. Raises the transfer and model
        errors."""
        subject = self.subject(model, commit)
        first = f"{self.base_url()}/api/models/{model}/tree/{commit}?recursive=true"

        def read(answered: Answered) -> list[TreeEntry]:
            found: list[TreeEntry] = []
            place = first
            for _ in range(MOST_PAGES):
                body, headers = self._get(place, subject, answered)
                found += from_text(list[TreeEntry], body)
                following = self._next_page(headers)
                if following is None:
                    return [entry for entry in found if entry.type == "file"]
                place = following
            raise ValueError("the list of files does not end")

        return await self._ask(read, subject)

    def _next_page(self, headers: Mapping[str, str]) -> str | None:
        """Return the address of the next page; None on the last. Raises ValueError for an address of another server,
        which must not see the token."""
        found = NEXT_PAGE.search(headers.get("link", ""))
        if found is None:
            return None
        if not found[1].startswith(f"{self.base_url()}/"):
            raise ValueError("the next page is elsewhere")
        return found[1]

    async def most_downloaded(self, tags: Sequence[str], limit: int, about: str) -> list[Mapping[str, Any]]:
        """Fetch the public models that have all of `tags`, most downloaded first, at most `limit`.

        The query is that of `HfApi.list_models`, but sent from here: `list_models` tries again for half a minute when
        there is no network. `about` is the model that an error names. Raises the transfer and model errors.
        """
        subject = self.subject(about)
        query: Query = {"filter": list(tags), "sort": "downloads", "limit": limit}

        def read(answered: Answered) -> list[Mapping[str, Any]]:
            body, _ = self._get(f"{self.base_url()}/api/models", subject, answered, query=query)
            return from_text(list[Mapping[str, Any]], body)[:limit]

        return await self._ask(read, subject)

    def dataset_info(self, dataset: str) -> Described:
        """Fetch the Hub's description of a dataset, here and now. Raises the transfer and model errors."""
        subject = self.subject(f"datasets/{dataset}")
        if self.is_offline():
            raise translate.offline(subject)
        with translate.translated(subject):
            body, _ = self._get(f"{self.base_url()}/api/datasets/{dataset}", subject, lambda: None)
            return from_text(Described, body)

    async def read_small(self, model: str, path: str, commit: str, limit_bytes: int = 32 << 20) -> bytes:
        """Fetch the bytes of a small file. Raises UnsafeFormat when there are more than `limit_bytes`, and the transfer
        errors."""
        subject = self.subject(model, commit, path)

        def read(answered: Answered) -> bytes:
            try:
                return self._get(self.file_url(model, path, commit), subject, answered, most_bytes=limit_bytes)[0]
            except TooLong:
                raise _too_long(path, limit_bytes) from None

        return await self._ask(read, subject)

    def _get(self, url: str, subject: Subject, answered: Answered, **limits: Any) -> tuple[bytes, Mapping[str, str]]:
        return answers.get(url, self.headers(), subject, seconds=self.timeout_seconds, answered=answered, **limits)

    async def _ask(self, call: Callable[[Answered], T], subject: Subject) -> T:
        def translated(answered: Answered) -> T:
            with translate.translated(subject):
                return call(answered)

        async def once() -> T:
            if self.is_offline():
                raise translate.offline(subject)
            return await answers.in_time(translated, subject, self.timeout_seconds)

        return await self.retry.run(once, worth=lambda error: error.transient and not isinstance(error, Offline))


def _shown(url: str) -> str:
    """Return the address without a user's password, for errors."""
    scheme, slashes, rest = url.rpartition("://")
    return scheme + slashes + rest.rpartition("@")[2]


def _too_long(path: str, limit_bytes: int) -> UnsafeFormat:
    return UnsafeFormat(
        f"{printable(path)} is longer than {limit_bytes >> 20} MiB, which no real model's is.",
        "Use another repository of this model.",
    )
