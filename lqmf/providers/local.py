"""A model of the user's own: any address that speaks OpenAI's API, or, with `local_artifact`, a GGUF run in-process.

Ollama, LM Studio, llama-server, vLLM and LQMF's own server speak it. Most want no key; the model may be left to them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.errors import ProviderNotReady
from lqmf.providers.base import Message, Provider
from lqmf.providers.failures import asked
from lqmf.providers.openai import OpenAI

if TYPE_CHECKING:
    from lqmf.providers.config import LlmSettings

_NO_KEY = "none"  # the SDK wants one
# Servers list models that write nothing beside those that do, and do not say which: only their names tell.
_WRITES_NOTHING = re.compile(r"embed|rerank|\bbge\b|\bgte\b|\be5\b|minilm|whisper|\btts\b|\bclip\b", re.IGNORECASE)


class LocalServer(OpenAI):
    """A Provider: the server at `base_url`. Without `model` it asks for the first model that the server offers and
    whose name is not that of an embedding model or the like."""

    name = "local"
    _limit = "max_tokens"

    async def _request(self, messages: Sequence[Message], max_tokens: int, timeout_s: float) -> dict[str, Any]:
        if not self.model:
            self.model = await self._first_offered(timeout_s)
        return await super()._request(messages, max_tokens, timeout_s)

    async def _first_offered(self, timeout_s: float) -> str:
        """Return the first model that the server offers, of those that seem to write where there is one. Raises
        ProviderError, ProviderNotReady where it has no model."""
        offered = await asked(self._offered(timeout_s), self._foreign, self._translate)
        names = [id for id in offered if isinstance(id, str) and id]
        if names:
            return next((name for name in names if not _WRITES_NOTHING.search(name)), names[0])
        raise ProviderNotReady(
            "local: the server offers no model.", "Load one there, or name it: `lqmf config set local_model NAME`."
        )

    async def _offered(self, timeout_s: float) -> list[Any]:
        listed = await self._client.get().models.list(timeout=timeout_s)
        return [getattr(one, "id", None) for one in listed.data or ()]


def PROVIDER(settings: LlmSettings, artifacts: Path) -> Provider:  # noqa: N802 - the name that the registry looks for
    """Return the server that the settings name, or the own artifact that they name in its place."""
    if settings.local_artifact:
        from lqmf.providers.artifact import own_artifact

        return own_artifact(settings, artifacts)
    return LocalServer(
        settings.model("local") or "", settings.clear_key("local") or _NO_KEY, settings.base_url("local")
    )
