"""A provider of LQMF for servers that take `POST /say` with {"model", "messages", "schema", "max_tokens"} and answer
{"text", "model", "tokens": [in, out]}. A package of its own: it imports `lqmf.plugin` and no other part of LQMF.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel

from lqmf.plugin import provider as lqmf
from lqmf.plugin.provider import Completion, LlmSettings, Message, Usage

T = TypeVar("T", bound=BaseModel)
FOREIGN = (httpx2.HTTPError, ValueError, KeyError)


class Parrot:
    """One server, at `address`."""

    name = "parrot"

    def __init__(self, model: str, key: str, address: str) -> None:
        self.model, self._key, self._address = model, key, address
        self._client = lqmf.LoopBound(httpx2.AsyncClient, lambda client: client.aclose())

    async def complete(
        self, messages: Sequence[Message], schema: type[T], *, max_tokens: int, timeout_s: float
    ) -> Completion[T]:
        started = time.perf_counter()
        said = await lqmf.asked(
            self._say(messages, schema.model_json_schema(), max_tokens, timeout_s), FOREIGN, self._translated
        )
        usage = Usage(*said["tokens"])
        value = lqmf.parse(self.name, said["text"], schema, usage)
        return Completion(value, usage, time.perf_counter() - started, said["model"], self.name)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, timeout_s: float
    ) -> AsyncIterator[str | Usage]:
        said = await lqmf.asked(self._say(messages, None, max_tokens, timeout_s), FOREIGN, self._translated)
        yield said["text"]
        yield Usage(*said["tokens"])

    async def close(self) -> None:
        await self._client.close()

    async def _say(self, messages: Sequence[Message], schema: Any, max_tokens: int, timeout_s: float) -> dict[str, Any]:
        turns = [{"role": one.role, "content": one.content} for one in messages]
        answer = await self._client.get().post(
            f"{self._address}/say",
            json={"model": self.model, "messages": turns, "schema": schema, "max_tokens": max_tokens},
            headers={"Authorization": f"Bearer {self._key}"},
            timeout=timeout_s,
        )
        answer.raise_for_status()
        said: dict[str, Any] = answer.json()
        return {name: said[name] for name in ("text", "model", "tokens")}

    def _translated(self, error: Exception) -> lqmf.ProviderError:
        if isinstance(error, httpx2.HTTPStatusError):
            return lqmf.of_status(
                self.name, error.response.status_code, error.response.text, error.response.headers, self._key
            )
        if isinstance(error, httpx2.HTTPError):
            return lqmf.unreachable(self.name, "cannot be reached, or broke off")
        return lqmf.bad(f"{self.name} sent something that is no answer")


def provider(settings: LlmSettings, artifacts: Path) -> Parrot:
    return Parrot(
        settings.model("parrot") or "", settings.required_key("parrot"), (settings.base_url("parrot") or "").rstrip("/")
    )


provider.declared = lqmf.Service(
    "parrot",
    words=r"parrot|polly",
    keys=("parrot_key",),
    needs_key=True,
    model="grey-1",
    address="http://127.0.0.1:9999",
    prices={"grey-1": (1.0, 2.0)},
)
