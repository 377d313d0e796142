"""Gemini, through Google's generateContent with its own response schema (`response_json_schema`).

Knows the SDK `google-genai`, imported on first use; retries nothing, runs no tools.
Source: https://ai.google.dev/gemini-api/docs/structured-output
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from lqmf.errors import ProviderError
from lqmf.providers.answers import bad, parse
from lqmf.providers.base import Completion, Message, Usage
from lqmf.providers.clients import SdkProvider
from lqmf.providers.failures import Foreign, asked, of_status, sdk, streamed, unreachable

if TYPE_CHECKING:
    import httpx2
    from google.genai.client import AsyncClient

    from lqmf.providers.config import LlmSettings

T = TypeVar("T", bound=BaseModel)

_WHOLE = ("STOP", "FINISH_REASON_UNSPECIFIED")
_TOOLS = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS")
_BAD_KEY = "API_KEY_INVALID"  # Google answers 400, not 401, to a key that is none


@dataclass(frozen=True)
class _Client:
    """The SDK's client and the connections that it was given, which it leaves to us to close."""

    sdk: AsyncClient
    http: httpx2.AsyncClient

    async def close(self) -> None:
        await self.sdk.aclose()
        await self.http.aclose()


class Gemini(SdkProvider[Any]):
    """A Provider: Gemini as `model`, at `base_url` or the SDK's own address."""

    name = "gemini"

    def _open(self) -> _Client:
        genai = _sdk()
        http = _http().AsyncClient(follow_redirects=True)  # or the SDK would take aiohttp wherever that is installed
        options = genai.types.HttpOptions(
            base_url=self._base_url,
            retry_options=genai.types.HttpRetryOptions(attempts=1),
            httpx_async_client=http,
        )
        return _Client(genai.Client(api_key=self._key, enterprise=False, http_options=options).aio, http)

    async def complete(
        self, messages: Sequence[Message], schema: type[T], *, max_tokens: int, timeout_s: float
    ) -> Completion[T]:
        """Return an object of `schema`. Raises ProviderError."""
        started = time.perf_counter()
        form = {"response_mime_type": "application/json", "response_json_schema": schema.model_json_schema()}
        request = self._request(messages, max_tokens, timeout_s, **form)
        answer = await asked(self._client.get().sdk.models.generate_content(**request), _foreign(), self._translate)
        usage, text = _usage(answer) or Usage(), _text(answer)
        self._refuse_broken(_failure(answer), usage)
        if not answer.candidates:
            raise bad("gemini gave an empty answer", usage)
        value = parse(self.name, text, schema, usage)
        model = answer.model_version or self.model
        return Completion(value, usage, time.perf_counter() - started, model, self.name)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, timeout_s: float
    ) -> AsyncIterator[str | Usage]:
        """Yield prose, piece by piece, then the Usage. Raises ProviderError."""
        pieces = self._pieces(self._request(messages, max_tokens, timeout_s))
        async for piece in streamed(pieces, _foreign(), self._translate):
            yield piece

    async def _pieces(self, request: dict[str, Any]) -> AsyncIterator[str | Usage]:
        usage, ended = None, False
        async for chunk in await self._client.get().sdk.models.generate_content_stream(**request):
            usage = _usage(chunk) or usage
            self._refuse_broken(_failure(chunk), usage)
            if text := _text(chunk):
                yield text
            ended = ended or any(one.finish_reason for one in chunk.candidates or ())
        if not ended:
            raise unreachable(self.name, "broke off in the middle of its answer")
        if usage:
            yield usage

    def _request(self, messages: Sequence[Message], max_tokens: int, timeout_s: float, **form: Any) -> dict[str, Any]:
        """Return the arguments of generate_content; system messages are a part of its configuration."""
        types = _sdk().types
        system = "\n\n".join(m.content for m in messages if m.role == "system")
        config = types.GenerateContentConfig(
            system_instruction=system or None,
            max_output_tokens=max_tokens,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            http_options=types.HttpOptions(
                timeout=round(timeout_s * 1000), retry_options=types.HttpRetryOptions(attempts=1)
            ),
            **form,
        )
        roles = {"user": "user", "assistant": "model"}
        turns = [
            types.Content(role=roles[m.role], parts=[types.Part(text=m.content)]) for m in messages if m.role in roles
        ]
        return {"model": self.model, "contents": turns, "config": config}

    # ------------------------------------------------------------ what went wrong

    def _refuse_broken(self, what: str | None, usage: Usage | None) -> None:
        """Raise BadAnswer for an answer that is a refusal, is cut, or calls a tool."""
        if what:
            raise bad(f"{self.name} {what}", usage)

    def _translate(self, error: Exception) -> ProviderError:
        if isinstance(error, _sdk().errors.APIError):
            status = 401 if _BAD_KEY in str(error.details) else error.code
            headers = getattr(error.response, "headers", None)
            return of_status(self.name, status if isinstance(status, int) else 500, error.message, headers, self._key)
        if isinstance(error, _http().TimeoutException):
            return unreachable(self.name, "did not answer in time")
        if isinstance(error, _http().TransportError):
            return unreachable(self.name, "cannot be reached, or broke off")
        return bad("gemini sent something that its own library cannot read")


def PROVIDER(settings: LlmSettings, artifacts: Path) -> Gemini:  # noqa: N802 - the name that the registry looks for
    """Return Gemini with the model, key and address of the settings. Raises SettingsError without a key."""
    return Gemini(settings.model("gemini") or "", settings.required_key("gemini"), settings.base_url("gemini"))


def _sdk() -> Any:
    return sdk("google.genai", "google-genai", "gemini")


def _http() -> Any:
    return sdk("httpx2", "httpx2", "gemini")


def _foreign() -> Foreign:
    errors = _sdk().errors
    return (errors.APIError, errors.UnknownApiResponseError, _http().HTTPError, ValueError)


def _usage(answer: Any) -> Usage | None:
    counted = answer.usage_metadata
    if counted is None:
        return None
    out = (counted.candidates_token_count or 0) + (counted.thoughts_token_count or 0)
    return Usage(counted.prompt_token_count, out)


def _parts(answer: Any) -> list[Any]:
    content = answer.candidates[0].content if answer.candidates else None
    return (content.parts or []) if content else []


def _text(answer: Any) -> str:
    """Return the words of an answer, without the thoughts of the model."""
    return "".join(part.text for part in _parts(answer) if part.text and not part.thought)


def _failure(answer: Any) -> str | None:
    """Return why an answer is not whole, continuing "gemini .."; None where it is whole, or is still going on."""
    feedback = answer.prompt_feedback
    reason = answer.candidates[0].finish_reason if answer.candidates else None
    word = str(getattr(reason, "value", reason or ""))
    if any(part.function_call for part in _parts(answer)) or word in _TOOLS:
        return "wanted to use a tool, and there are none"
    if word == "MAX_TOKENS":
        return "had no tokens left for the whole answer"
    if (feedback and feedback.block_reason) or (word and word not in _WHOLE):
        return "declined to answer"
    return None
