"""The Engine promise over HTTP, for any address that speaks OpenAI's API: it generates text, times it, and returns the
log-probabilities of a text if the server gives them.

The far end holds the tokenizer, the chat template and the logits, so those parts raise UsageError. Knows nothing of
what runs there. The API key is sent to that address and appears in no error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import httpx2

from lqmf.engines.http.sse import LineTooLong, events
from lqmf.engines.promise import Closing, Message, Piece, Sampling
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
from lqmf.units import file_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LONGEST_ERROR = 300  # characters of a server's own words
_LONGEST_BODY = 1 << 16  # bytes
_PATIENCE = httpx2.Timeout(10.0, read=300.0)  # a large model may think for minutes before its first token


_MOST_JSON = 16 << 20  # bytes of an answer that is not streamed


@dataclass
class Ending:
    """The end of an answer, as the far end reports it: the reason, and how many tokens it counted."""

    finish: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """One answer, timed from the request on. Token counts are the far end's, None if it does not count; `ended` says
    whether the model stopped by itself."""

    text: str
    pieces: tuple[str, ...]
    first_token_seconds: float
    seconds: float
    prompt_tokens: int | None
    tokens: int | None
    ended: bool

    @property
    def tokens_per_second(self) -> float | None:
        """Return the speed of writing after the first token; None if too few tokens were written to time it."""
        later = self.seconds - self.first_token_seconds
        return (self.tokens - 1) / later if self.tokens and self.tokens > 4 and later > 0 else None


class HttpEngine(Closing):
    """`base_url` as OpenAI's clients take it ("http://localhost:8080/v1"); `model` is the far end's name for it.

    Raises Unauthorized, ModelNotFound, RateLimited, ConnectionBroken, HubUnavailable (5xx) and TransferError while
    generating. `context_length` and `vocabulary` are 0: a far end does not say.
    """

    context_length = 0
    vocabulary = 0

    def __init__(self, base_url: str, model: str, api_key: str | None = None) -> None:
        url = httpx2.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise UsageError(f"'{base_url}' is no HTTP address.", "Give one like http://localhost:8080/v1")
        self.name = f"http {url.host}"
        self._model, self._key = model, api_key
        self._url = base_url.rstrip("/")
        self._address = str(url.copy_with(username=None, password=None)).rstrip("/")  # as it may be shown
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx2.Client(headers=headers, timeout=_PATIENCE)

    # ------------------------------------------------------------ generation

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Continue `prompt` as a stream of Pieces. Token ids, if given, must be the far end's. Raises UsageError for an
        empty prompt."""
        continued = prompt if isinstance(prompt, str) else list(prompt)
        if not continued:
            raise UsageError("There is no prompt to continue.", "Give at least one word.")
        return self._stream("completions", {"prompt": continued}, sampling)

    def chat(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        """Return the assistant's answer to `messages` as a stream of Pieces, through the far end's own template."""
        return self._stream("chat/completions", {"messages": [dict(m) for m in messages]}, sampling)

    def reply(self, asked: str | Sequence[Message], sampling: Sampling) -> Reply:
        """Return the whole answer to a conversation, or the continuation of a text, with the times that it took."""
        ending, words = Ending(), list[str]()
        chat = not isinstance(asked, str)
        path, body = ("chat/completions", {"messages": list(asked)}) if chat else ("completions", {"prompt": asked})
        started, first = time.perf_counter(), None
        for piece in self._stream(path, body, sampling, ending):
            first = first or time.perf_counter() - started
            words.append(piece.text)
        seconds = time.perf_counter() - started
        read, written = (_count(ending.usage.get(f"{name}_tokens")) for name in ("prompt", "completion"))
        ended = ending.finish == "stop"
        return Reply("".join(words), tuple(words), first or seconds, seconds, read, written, ended)

    def _stream(
        self, path: str, asked: Mapping[str, Any], sampling: Sampling, ending: Ending | None = None
    ) -> Iterator[Piece]:
        body = {"model": self._model, "stream": True, **asked, **_parameters(sampling)}
        if ending is not None:
            body["stream_options"] = {"include_usage": True}
        with self._asked("POST", path, body) as response:
            yield from self._pieces(response, ending or Ending())

    @contextmanager
    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Iterator[httpx2.Response]:
        """Yield the response to a request. A refusal, and any error while the response is read, becomes one of LQMF's
        errors."""
        try:
            with self._client.stream(method, f"{self._url}/{path}", json=body) as response:
                if response.status_code != 200:
                    raise self._refusal(response)
                yield response
        except LineTooLong as error:
            raise self._nonsense("a line without an end") from error
        except httpx2.TimeoutException as error:
            raise self._broken("did not answer in time") from error
        except httpx2.ConnectError as error:
            raise self._broken(f"cannot be reached ({error})") from error
        except httpx2.HTTPError as error:
            raise self._broken(f"broke off ({error})") from error

    def _pieces(self, response: httpx2.Response, ending: Ending) -> Iterator[Piece]:
        for data in events(response.iter_bytes()):
            if data.strip() == "[DONE]":
                return
            chunk = self._object(data)
            choice = _choice(chunk)
            if text := _text(choice):
                yield Piece(text)
            ending.finish = str(choice.get("finish_reason") or ending.finish)
            ending.usage = chunk["usage"] if isinstance(chunk.get("usage"), dict) else ending.usage
        if not ending.finish:
            raise self._broken("ended its answer in the middle")

    def _object(self, data: str | bytes) -> Mapping[str, Any]:
        """Return the JSON object in `data`. Raises TransferError if it is no JSON object, or an error of the server."""
        try:
            found = json.loads(data)
        except ValueError as error:
            raise self._nonsense("something that is not JSON") from error
        if not isinstance(found, dict):
            raise self._nonsense("JSON that is no object")
        if found.get("error"):
            raise TransferError(f"{self._address} stopped with an error: {self._told(found)}", _LOOK)
        return found

    # ------------------------------------------------------------ what else the far end may say

    def models(self) -> list[str]:
        """Return the names of the models that the far end offers. Raises TransferError if it sends no list."""
        with self._asked("GET", "models") as response:
            listed = self._object(self._read(response)).get("data")
        if not isinstance(listed, list):
            raise self._nonsense("no list of models")
        return [str(one["id"]) for one in listed if isinstance(one, dict) and one.get("id")]

    def surprises(self, text: str) -> list[tuple[int, float]]:
        """Return the place in `text` (characters) and the negative log-likelihood (nats) of each of its tokens but the
        first. Raises UsageError if the far end does not give the log-probabilities of a prompt."""
        body = {"model": self._model, "prompt": text, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}
        with self._asked("POST", "completions", body) as response:
            choice = _choice(self._object(self._read(response)))
        told = choice.get("logprobs")
        told = told if isinstance(told, dict) else {}
        places, values = told.get("text_offset"), told.get("token_logprobs")
        echoed = str(choice.get("text")).startswith(text)
        if not (echoed and isinstance(places, list) and isinstance(values, list)):
            raise UsageError(
                f"{self._address} does not give the log-probabilities of a prompt (completions with `echo`).", _LOSS
            )
        pairs = zip(places, values, strict=False)
        return [(place, -value) for place, value in pairs if isinstance(value, int | float) and place < len(text)]

    def _read(self, response: httpx2.Response) -> bytes:
        """Return the body, unpacked. Raises TransferError if it is longer than any answer should be."""
        body = b""
        for part in response.iter_bytes():
            body += part
            if len(body) > _MOST_JSON:
                raise self._nonsense(f"more than {file_size(_MOST_JSON)} in one answer")
        return body

    # ------------------------------------------------------------ what went wrong

    def _refusal(self, response: httpx2.Response) -> LqmfError:
        """Return the error that a response's status stands for."""
        status, told = response.status_code, self._told(_body(response))
        said = f"{self._address} answered {status}" + (f": {told}" if told else "")
        if status in (401, 403):
            remedy = "Put the line LOCAL_API_KEY=<its key> into .env in the workspace."
            return Unauthorized(f"{said}.", remedy)
        if status == 404:
            return ModelNotFound(f"{said}.", f"Check the address (does it end in /v1?) and the model '{self._model}'.")
        if status == 429:
            return RateLimited(f"{said}.", "Wait, then try again.", retry_after_seconds=_retry_after(response))
        if status >= 500:
            return HubUnavailable(f"{said}.", _LOOK)
        return UsageError(f"{said}.", "The address does not accept this request: check the model and the options.")

    def _told(self, document: Any) -> str:
        """Return a server's own words on an error, short and without the key, which some servers repeat."""
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
        """Raise UsageError: the tokenizer is at the far end."""
        self._only_generates("tokens")

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Raise UsageError: the tokenizer is at the far end."""
        self._only_generates("tokens")

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Raise UsageError: the chat template is at the far end; `chat` uses it."""
        self._only_generates("a chat template")

    def logits(
        self, windows: Iterable[Sequence[int]], *, first: int = 0, step: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Raise UsageError: the logits stay at the far end."""
        self._only_generates("logits")

    def _only_generates(self, what: str) -> NoReturn:
        raise UsageError(
            f"{self._address} only generates text; it gives no {what}.", "Open the model's GGUF file to measure it."
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


_LOOK = "Look at the server's own log, then try again."
_LOSS = "`lqmf test FILE.gguf --base MODEL` measures the file itself."


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


def _choice(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first choice of an answer; empty for a chunk without one (as those that only count tokens)."""
    choices = chunk.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _count(said: Any) -> int | None:
    return said if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else None


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
