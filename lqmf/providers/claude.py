"""Claude, through Anthropic's Messages API and its own structured outputs (`output_config.format`).

Knows the SDK `anthropic`, imported on first use; retries nothing, runs no tools.
Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from lqmf.errors import ProviderError
from lqmf.providers.answers import bad, parse
from lqmf.providers.base import Completion, Message, Usage
from lqmf.providers.clients import SdkProvider
from lqmf.providers.failures import Foreign, asked, of_status, sdk, streamed, unreachable

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

    from lqmf.providers.config import LlmSettings

T = TypeVar("T", bound=BaseModel)

# stop reasons of an answer that is not whole; any other is a normal end
_BROKEN_OFF = {
    "refusal": "declined to answer",
    "max_tokens": "had no tokens left for the whole answer",
    "model_context_window_exceeded": "had no room for the whole answer",
    "tool_use": "wanted to use a tool, and there are none",
    "pause_turn": "stopped in the middle of the answer",
}


class Claude(SdkProvider[Any]):
    """A Provider: Claude as `model`, at `base_url` or the SDK's own address."""

    name = "claude"

    def _open(self) -> AsyncAnthropic:
        client: AsyncAnthropic = _sdk().AsyncAnthropic(api_key=self._key, base_url=self._base_url, max_retries=0)
        return client

    async def complete(
        self, messages: Sequence[Message], schema: type[T], *, max_tokens: int, timeout_s: float
    ) -> Completion[T]:
        """Return an object of `schema`. Raises ProviderError."""
        started = time.perf_counter()
        form: Any = {"type": "json_schema", "schema": _sdk().transform_schema(schema)}
        call = self._client.get().messages.create(
            **_request(messages), model=self.model, max_tokens=max_tokens, timeout=timeout_s,
            output_config={"format": form},
        )  # fmt: skip
        answer: Any = await asked(call, _foreign(), self._translate)
        if not isinstance(getattr(answer, "content", None), list) or answer.usage is None:
            raise bad("claude sent something that is no answer")
        usage = Usage(*_counts(answer.usage))
        _refuse_broken(answer.stop_reason, [block.type for block in answer.content], usage)
        text = "".join(block.text for block in answer.content if block.type == "text")
        value = parse(self.name, text, schema, usage)
        return Completion(value, usage, time.perf_counter() - started, answer.model, self.name)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, timeout_s: float
    ) -> AsyncIterator[str | Usage]:
        """Yield prose, piece by piece, then the Usage. Raises ProviderError."""
        pieces = self._pieces(_request(messages), max_tokens, timeout_s)
        async for piece in streamed(pieces, _foreign(), self._translate):
            yield piece

    async def _pieces(self, request: dict[str, Any], max_tokens: int, timeout_s: float) -> AsyncIterator[str | Usage]:
        client, reason, blocks = self._client.get(), None, []
        tokens: list[int | None] = [None, None]
        events = await client.messages.create(
            **request, model=self.model, max_tokens=max_tokens, timeout=timeout_s, stream=True
        )
        async with events:
            async for event in events:
                match event.type:
                    case "message_start":
                        tokens[0] = event.message.usage.input_tokens
                    case "content_block_start":
                        blocks.append(event.content_block.type)
                    case "content_block_delta" if event.delta.type == "text_delta":
                        yield event.delta.text
                    case "message_delta":
                        reason, tokens[1] = event.delta.stop_reason, event.usage.output_tokens
        if reason is None:
            raise unreachable(self.name, "broke off in the middle of its answer")
        _refuse_broken(reason, blocks, Usage(*tokens))
        yield Usage(*tokens)

    def _translate(self, error: Exception) -> ProviderError:
        anthropic = _sdk()
        if isinstance(error, anthropic.APIStatusError):
            status = error.status_code if error.status_code >= 400 else _IN_STREAM.get(str(error.type), 500)
            return of_status(self.name, status, error.api_message, error.response.headers, self._key)
        if isinstance(error, anthropic.APITimeoutError | _http().TimeoutException):
            return unreachable(self.name, "did not answer in time")
        if isinstance(error, anthropic.APIConnectionError | _http().TransportError):
            return unreachable(self.name, "cannot be reached, or broke off")
        return bad(f"{self.name} sent something that its own library cannot read")


# An error within a stream has the status 200; its type says what it is. Source:
# https://platform.claude.com/docs/en/api/errors
_IN_STREAM = {"overloaded_error": 529, "api_error": 500, "rate_limit_error": 429, "timeout_error": 504}


def PROVIDER(settings: LlmSettings, artifacts: Path) -> Claude:  # noqa: N802 - the name that the registry looks for
    """Return Claude with the model, key and address of the settings. Raises SettingsError without a key."""
    return Claude(settings.model("claude") or "", settings.required_key("claude"), settings.base_url("claude"))


def _sdk() -> Any:
    return sdk("anthropic", "anthropic", "claude")


def _http() -> Any:
    return sdk("httpx2", "httpx2", "claude")


def _foreign() -> Foreign:
    return (_sdk().AnthropicError, _http().HTTPError, ValueError)  # ValueError: a body that is no JSON


def _request(messages: Sequence[Message]) -> dict[str, Any]:
    """Return the messages as arguments of the API; system messages are a parameter of their own."""
    system = "\n\n".join(m.content for m in messages if m.role == "system")
    turns = [{"role": m.role, "content": m.content} for m in messages if m.role != "system"]
    return {"messages": turns, **({"system": system} if system else {})}


def _counts(usage: Any) -> tuple[int | None, int | None]:
    """Return the tokens in (those read from and written to a cache too) and out."""
    cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
    return (usage.input_tokens or 0) + cached, usage.output_tokens


def _refuse_broken(reason: str | None, blocks: Sequence[str], usage: Usage) -> None:
    """Raise BadAnswer for an answer that is a refusal, is cut, or calls a tool."""
    called = any(kind.endswith("tool_use") for kind in blocks)
    what = _BROKEN_OFF.get("tool_use" if called else reason or "")
    if what:
        raise bad(f"claude {what}", usage)
