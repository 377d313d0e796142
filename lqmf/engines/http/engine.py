"""The Engine promise over HTTP, for any address that speaks OpenAI's API: it generates, and that is all.

The far end holds the tokenizer, the chat template and the logits, so those parts raise UsageError. Knows nothing of
what runs there. The API key is sent to that address and appears in no error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import httpx2

from lqmf.engines.http.sse import LineTooLong, events
from lqmf.engines.promise import Message, Piece, Sampling
from lqmf.errors import (
    ConnectionBroken,
    HubUnavailable,
    LqmfError,
    ModelNotFound,
    RateLimited,
    TransferError,
    Unauthorized,
    UsageError,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LONGEST_ERROR = 300  # characters of a server's own words
_LONGEST_BODY = 1 << 16  # bytes
_PATIENCE = httpx2.Timeout(10.0, read=300.0)  # a large model may think for minutes before its first token


class HttpEngine:
    """`base_url` as OpenAI's clients take it ("http://localhost:8080/v1"); `model` is the far end's name for it.

    Raises Unauthorized, ModelNotFound, RateLimited, ConnectionBroken, HubUnavailable (5xx) and TransferError while
    generating. `context_length` and `vocabulary` are 0: a far end does not say.
    """

    context_length = 0
    vocabulary = 0

    def __init__(
        self, base_url: str, model: str, api_key: str | None = None, *, timeout: httpx2.Timeout = _PATIENCE
    ) -> None:
        url = httpx2.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise UsageError(f"'{base_url}' is no HTTP address.", "Give one like http://localhost:8080/v1")
        self.name = f"http {url.host}"
        self._model, self._key = model, api_key
        self._url = base_url.rstrip("/")
        self._address = str(url.copy_with(username=None, password=None)).rstrip("/")  # as it may be shown
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx2.Client(headers=headers, timeout=timeout)

    # ------------------------------------------------------------ generation

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Continue `prompt` as a stream. Token ids, where given, must be the far end's."""
        continued = prompt if isinstance(prompt, str) else list(prompt)
        if not continued:
            raise UsageError("There is no prompt to continue.", "Give at least one word.")
        return self._stream("completions", {"prompt": continued}, sampling)

    def chat(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        """The assistant's answer to `messages`, through the far end's own template."""
        return self._stream("chat/completions", {"messages": [dict(m) for m in messages]}, sampling)

    def _stream(self, path: str, asked: Mapping[str, Any], sampling: Sampling) -> Iterator[Piece]:
        body = {"model": self._model, "stream": True, **asked, **_parameters(sampling)}
        try:
            with self._client.stream("POST", f"{self._url}/{path}", json=body) as response:
                if response.status_code != 200:
                    raise self._refusal(response)
                yield from self._pieces(response)
        except LineTooLong as error:
            raise self._nonsense("a line without an end") from error
        except httpx2.TimeoutException as error:
            raise self._broken("did not answer in time") from error
        except httpx2.ConnectError as error:
            raise self._broken(f"cannot be reached ({error})") from error
        except httpx2.HTTPError as error:
            raise self._broken(f"broke off ({error})") from error

    def _pieces(self, response: httpx2.Response) -> Iterator[Piece]:
        finished = False
        for data in events(response.iter_bytes()):
            if data.strip() == "[DONE]":
                return
            choice = self._choice(data)
            if text := _text(choice):
                yield Piece(text)
            finished = finished or bool(choice.get("finish_reason"))
        if not finished:
            raise self._broken("ended its answer in the middle")

    def _choice(self, data: str) -> Mapping[str, Any]:
        """The first choice of a chunk; empty for a chunk without one (as those that only count tokens)."""
        try:
            chunk = json.loads(data)
        except ValueError as error:
            raise self._nonsense("something that is not JSON") from error
        if not isinstance(chunk, dict):
            raise self._nonsense("JSON that is no object")
        if chunk.get("error"):
            raise TransferError(f"{self._address} stopped with an error: {self._told(chunk)}", _LOOK)
        choices = chunk.get("choices")
        return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}

    # ------------------------------------------------------------ what went wrong

    def _refusal(self, response: httpx2.Response) -> LqmfError:
        """The error that a status stands for."""
        status, told = response.status_code, self._told(_body(response))
        said = f"{self._address} answered {status}" + (f": {told}" if told else "")
        if status in (401, 403):
            return Unauthorized(f"{said}.", "Set the API key of this address, or a right one.")
        if status == 404:
            return ModelNotFound(f"{said}.", f"Check the address (does it end in /v1?) and the model '{self._model}'.")
        if status == 429:
            return RateLimited(f"{said}.", "Wait, then try again.", retry_after_seconds=_retry_after(response))
        if status >= 500:
            return HubUnavailable(f"{said}.", _LOOK)
        return UsageError(f"{said}.", "The address does not accept this request: check the model and the options.")

    def _told(self, document: Any) -> str:
        """A server's own words on an error, short and without the key, which some servers repeat."""
        error = document.get("error", document) if isinstance(document, dict) else document
        message = error.get("message", error) if isinstance(error, dict) else error
        text = " ".join(str(message or "").split())
        text = text.replace(self._key, "***") if self._key else text
        return "".join(c for c in text if c.isprintable())[:_LONGEST_ERROR]

    def _broken(self, how: str) -> ConnectionBroken:
        return ConnectionBroken(f"{self._address} {how}.", "Check that the server runs, then try again.")

    def _nonsense(self, what: str) -> TransferError:
        return TransferError(f"{self._address} sent {what}.", "Check that this address speaks OpenAI's API.")

    # ------------------------------------------------------------ what only the far end has

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Raises UsageError: the tokenizer is at the far end."""
        self._only_generates("tokens")

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Raises UsageError: the tokenizer is at the far end."""
        self._only_generates("tokens")

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Raises UsageError: the chat template is at the far end; `chat` goes through it."""
        self._only_generates("a chat template")

    def logits(
        self, windows: Iterable[Sequence[int]], *, first: int = 0, step: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Raises UsageError: the logits stay at the far end."""
        self._only_generates("logits")

    def _only_generates(self, what: str) -> NoReturn:
        raise UsageError(
            f"{self._address} only generates text; it gives no {what}.", "Open the model's GGUF file to measure it."
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def __enter__(self) -> HttpEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


_LOOK = "Look at the server's own log, then try again."


def _parameters(sampling: Sampling) -> dict[str, Any]:
    """The parameters that OpenAI's API has; `top_k` is not one of them."""
    parameters: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
    }
    if sampling.stop:
        parameters["stop"] = list(sampling.stop)
    if sampling.json_schema:
        form = {"name": "answer", "strict": True, "schema": json.loads(sampling.json_schema)}
        parameters["response_format"] = {"type": "json_schema", "json_schema": form}
    return parameters


def _text(choice: Mapping[str, Any]) -> str:
    """The words of a chunk, of either kind of completion."""
    delta = choice.get("delta")
    text = delta.get("content") if isinstance(delta, dict) else choice.get("text")
    return text if isinstance(text, str) else ""


def _body(response: httpx2.Response) -> Any:
    """The beginning of an error's body, as JSON if it is that."""
    text = next(response.iter_bytes(_LONGEST_BODY), b"").decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _retry_after(response: httpx2.Response) -> float | None:
    try:
        return float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        return None
