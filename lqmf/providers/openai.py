"""OpenAI's chat completions with its own structured outputs (`response_format`); `local` speaks the same language.

Knows the SDK `openai`, imported on first use; retries nothing, runs no tools.
Source: https://platform.openai.com/docs/guides/structured-outputs
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
from lqmf.providers.failures import Foreign, asked, of_status, own_words, sdk, streamed, unreachable

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from lqmf.providers.config import LlmSettings

T = TypeVar("T", bound=BaseModel)

_BROKEN_OFF = {
    "length": "had no tokens left for the whole answer",
    "content_filter": "declined to answer",
    "tool_calls": "wanted to use a tool, and there are none",
    "function_call": "wanted to use a tool, and there are none",
}
# an error within a stream has no status; its type or code says what it is
_IN_STREAM = {"server_error": 500, "rate_limit_exceeded": 429, "rate_limit_error": 429, "insufficient_quota": 429}


class OpenAI(SdkProvider[Any]):
    """A Provider: OpenAI as `model`, at `base_url` or the SDK's own address."""

    name = "openai"
    _limit = "max_completion_tokens"

    def _open(self) -> AsyncOpenAI:
        client: AsyncOpenAI = self._sdk.AsyncOpenAI(api_key=self._key, base_url=self._base_url, max_retries=0)
        return client

    async def complete(
        self, messages: Sequence[Message], schema: type[T], *, max_tokens: int, timeout_s: float
    ) -> Completion[T]:
        """Return an object of `schema`. Raises ProviderError."""
        started = time.perf_counter()
        strict = self._sdk.pydantic_function_tool(schema)["function"]["parameters"]
        form: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": strict, "strict": True}}
        request = await self._request(messages, max_tokens, timeout_s)
        call = self._client.get().chat.completions.create(**request, response_format=form)
        answer: Any = await asked(call, self._foreign, self._translate)
        choices = getattr(answer, "choices", None)
        if not choices or choices[0].message is None:
            told = own_words(_said(getattr(answer, "error", None)), self._key)
            raise bad(f"{self.name} sent something that is no answer{f': {told}' if told else ''}")
        usage, said = _usage(answer), choices[0].message
        self._refuse_broken(choices[0].finish_reason, bool(said.refusal), bool(said.tool_calls), usage)
        value = parse(self.name, said.content, schema, usage)
        return Completion(value, usage, time.perf_counter() - started, answer.model or self.model, self.name)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, timeout_s: float
    ) -> AsyncIterator[str | Usage]:
        """Yield prose, piece by piece, then the Usage. Raises ProviderError."""
        request = await self._request(messages, max_tokens, timeout_s)
        async for piece in streamed(self._pieces(request), self._foreign, self._translate):
            yield piece

    async def _pieces(self, request: dict[str, Any]) -> AsyncIterator[str | Usage]:
        usage, reason, refused, called = None, None, False, False
        chunks = await self._client.get().chat.completions.create(
            **request, stream=True, stream_options={"include_usage": True}
        )
        async with chunks:
            async for chunk in chunks:
                usage = _usage(chunk) if chunk.usage else usage
                for choice in chunk.choices or ():
                    reason = choice.finish_reason or reason
                    refused, called = refused or bool(choice.delta.refusal), called or bool(choice.delta.tool_calls)
                    if choice.delta.content:
                        yield choice.delta.content
        if reason is None:
            raise unreachable(self.name, "broke off in the middle of its answer")
        self._refuse_broken(reason, refused, called, usage)
        if usage:
            yield usage

    async def _request(self, messages: Sequence[Message], max_tokens: int, timeout_s: float) -> dict[str, Any]:
        turns = [{"role": m.role, "content": m.content} for m in messages]
        return {"model": self.model, "messages": turns, self._limit: max_tokens, "timeout": timeout_s}

    # ------------------------------------------------------------ what went wrong

    def _refuse_broken(self, reason: str | None, refused: bool, called: bool, usage: Usage | None) -> None:
        """Raise BadAnswer for an answer that is a refusal, is cut, or calls a tool."""
        what = _BROKEN_OFF.get("tool_calls" if called else "content_filter" if refused else reason or "")
        if what:
            raise bad(f"{self.name} {what}", usage)

    def _translate(self, error: Exception) -> ProviderError:
        openai = self._sdk
        if isinstance(error, openai.APIStatusError):
            return of_status(self.name, error.status_code, _words(error), error.response.headers, self._key)
        if isinstance(error, openai.APITimeoutError | self._http.TimeoutException):
            return unreachable(self.name, "did not answer in time")
        if isinstance(error, openai.APIConnectionError | self._http.TransportError):
            return unreachable(self.name, "cannot be reached, or broke off")
        if isinstance(error, openai.APIError) and not isinstance(error, openai.APIResponseValidationError):
            said: Any = error
            known = (_IN_STREAM[word] for word in (str(said.type), str(said.code)) if word in _IN_STREAM)
            return of_status(self.name, next(known, 500), said.message, None, self._key)
        return bad(f"{self.name} sent something that its own library cannot read")

    @property
    def _foreign(self) -> Foreign:
        return (self._sdk.OpenAIError, self._http.HTTPError, ValueError)  # ValueError: a body that is no JSON

    @property
    def _sdk(self) -> Any:
        return sdk("openai", "openai", self.name)

    @property
    def _http(self) -> Any:
        return sdk("httpx2", "httpx2", self.name)


def PROVIDER(settings: LlmSettings, artifacts: Path) -> OpenAI:  # noqa: N802 - the name that the registry looks for
    """Return OpenAI with the model, key and address of the settings. Raises SettingsError without a key."""
    return OpenAI(settings.model("openai") or "", settings.required_key("openai"), settings.base_url("openai"))


def _usage(answer: Any) -> Usage:
    counted = getattr(answer, "usage", None)
    return Usage(counted.prompt_tokens, counted.completion_tokens) if counted else Usage()


def _words(error: Any) -> str:
    """Return the far end's own sentence, without the body around it."""
    return _said(error.body)


def _said(body: object) -> str:
    """Return the sentence in an error's body, which has as many shapes as there are servers: {"message"}; {"error"}
    with a text or another body in it; {"detail"} with a text or a list of {"msg"}; plain text. "" for a page of
    HTML."""
    if isinstance(body, str):
        return "" if body.lstrip().startswith("<") else body
    if isinstance(body, list):
        return "; ".join(filter(None, map(_said, body[:3])))
    if isinstance(body, dict):
        return next((said for name in ("message", "error", "detail", "msg") if (said := _said(body.get(name)))), "")
    return ""
