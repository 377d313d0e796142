"""A far end on this machine that speaks what Claude, OpenAI (and its likes) and Gemini speak, JSON and SSE, and
misbehaves on demand. Only the far end is ours: the SDKs under test speak to it through real sockets.

Wire formats: https://platform.claude.com/docs/en/api/messages, https://platform.openai.com/docs/api-reference/chat,
https://ai.google.dev/api/generate-content.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

MODEL = "served-model"
TOKENS = (11, 7)


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered. `text` is what the model says, whole or in `pieces`; `status` is an error instead.

    `cut_after` and `stall_after` count bytes of a JSON body, and pieces of a stream; `end` is refusal, tool or length.
    """

    text: str = ""
    pieces: tuple[str, ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    first_byte_s: float = 0.0
    between_s: float = 0.0
    cut_after: int | None = None
    stall_after: int | None = None
    raw: bytes | None = None
    end: str = "stop"
    in_stream_error: str = ""
    error: Any = None  # the body beside `status`; None: that of the API
    usage: bool = True

    @property
    def said(self) -> tuple[str, ...]:
        return self.pieces or ((self.text,) if self.text else ())


def says(value: Any, **more: Any) -> Behaviour:
    """An answer that holds `value` as JSON, or as it is where it is text."""
    return Behaviour(text=value if isinstance(value, str) else json.dumps(value), **more)


class Server(ThreadingHTTPServer):
    """Answers by `script`, one behaviour a request and the last one for ever; `asked` keeps the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Behaviour] = [Behaviour(text="Hello.")]
        self.listed: tuple[str, ...] = (MODEL,)
        self.asked: list[dict[str, Any]] = []
        self.first_bytes: list[float] = []  # time.perf_counter() of each answer's first byte of text
        self.broken_off = threading.Event()  # the client closed while an answer was on its way
        self.stopped = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def url(self, provider: str) -> str:
        """The base_url to give to the SDK of `provider`."""
        return f"{self.address}/v1" if provider in ("openai", "local") else self.address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the play."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        """The models of an OpenAI-compatible server."""
        listed = [{"id": name, "object": "model"} for name in self.server.listed]
        self._json(200, {"object": "list", "data": listed}, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.asked.append(
            {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": body}
        )
        how = server.script.pop(0) if len(server.script) > 1 else server.script[0]
        speech = _speech(self.path)
        try:
            self._wait(how.first_byte_s)
            if how.status != 200:
                told = speech.error(how.status, self.headers) if how.error is None else how.error
                self._json(how.status, told, how.headers)
            elif speech.streams(self.path, body):
                self._stream(speech, how)
            else:
                self._whole(how.raw if how.raw is not None else json.dumps(speech.whole(how)).encode(), how)
        except OSError:
            server.broken_off.set()
        if how.cut_after is not None or how.stall_after is not None:
            self.close_connection = True

    def _json(self, status: int, document: Any, headers: dict[str, str]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _whole(self, body: bytes, how: Behaviour) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        stop = how.cut_after if how.cut_after is not None else how.stall_after
        self.wfile.write(body[:stop])
        self.wfile.flush()
        if how.stall_after is not None:
            self._stall()

    def _stream(self, speech: Any, how: Behaviour) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        for event in speech.opening():
            self._send(event)
        for number, piece in enumerate(how.said):
            if number == how.cut_after:
                return
            if number == how.stall_after:
                return self._stall()
            self._wait(how.between_s if number else 0.0)
            self.server.first_bytes += [] if number else [time.perf_counter()]
            self._send(speech.piece(piece))
        if how.cut_after == len(how.said):
            return
        for event in [speech.stream_error(how.in_stream_error)] if how.in_stream_error else speech.closing(how):
            self._send(event)

    def _send(self, event: tuple[str, Any]) -> None:
        name, data = event
        text = data if isinstance(data, str) else json.dumps(data)
        head = f"event: {name}\n" if name else ""
        self.wfile.write(f"{head}data: {text}\n\n".encode())
        self.wfile.flush()

    def _stall(self) -> None:
        """Say nothing more, until the client hangs up (or the test ends)."""
        self.connection.settimeout(0.05)
        while not self.server.stopped.is_set():
            try:
                if not self.connection.recv(1):
                    break
            except TimeoutError:
                continue
        self.server.broken_off.set()

    def _wait(self, seconds: float) -> None:
        self.server.stopped.wait(seconds)


def _key(headers: Any) -> str:
    return headers.get("x-api-key") or headers.get("x-goog-api-key") or headers.get("Authorization", "")


class Anthropic:
    """The Messages API."""

    reasons: ClassVar[dict[str, str]] = {
        "stop": "end_turn",
        "refusal": "refusal",
        "tool": "tool_use",
        "length": "max_tokens",
    }

    def streams(self, path: str, body: Any) -> bool:
        return bool(body.get("stream"))

    def error(self, status: int, headers: Any) -> Any:
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 529: "overloaded_error"}
        kind = kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": f"no: {_key(headers)}"}}

    def _message(self, content: list[Any], reason: str | None, usage: Any) -> dict[str, Any]:
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": content,
            "stop_reason": reason, "stop_sequence": None, "usage": usage,
        }  # fmt: skip

    def whole(self, how: Behaviour) -> Any:
        content: list[Any] = [{"type": "text", "text": piece} for piece in how.said]
        if how.end == "tool":
            content.append({"type": "tool_use", "id": "t1", "name": "shell", "input": {"command": "rm -rf /"}})
        usage = {"input_tokens": TOKENS[0], "output_tokens": TOKENS[1]}
        return self._message(content, self.reasons[how.end], usage)

    def opening(self) -> list[tuple[str, Any]]:
        usage = {"input_tokens": TOKENS[0], "output_tokens": 1}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        start = {"type": "message_start", "message": self._message([], None, usage)}
        return [("message_start", start), ("content_block_start", block), ("ping", {"type": "ping"})]

    def piece(self, text: str) -> tuple[str, Any]:
        delta = {"type": "text_delta", "text": text}
        return "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}

    def closing(self, how: Behaviour) -> list[tuple[str, Any]]:
        events: list[tuple[str, Any]] = [("content_block_stop", {"type": "content_block_stop", "index": 0})]
        if how.end == "tool":
            tool = {"type": "tool_use", "id": "t1", "name": "shell", "input": {}}
            events.append(("content_block_start", {"type": "content_block_start", "index": 1, "content_block": tool}))
        ended = {"stop_reason": self.reasons[how.end], "stop_sequence": None}
        return [
            *events,
            ("message_delta", {"type": "message_delta", "delta": ended, "usage": {"output_tokens": TOKENS[1]}}),
            ("message_stop", {"type": "message_stop"}),
        ]

    def stream_error(self, kind: str) -> tuple[str, Any]:
        return "error", {"type": "error", "error": {"type": kind, "message": "Overloaded"}}


class OpenAI:
    """Chat completions."""

    reasons: ClassVar[dict[str, str]] = {"stop": "stop", "refusal": "stop", "tool": "tool_calls", "length": "length"}

    def streams(self, path: str, body: Any) -> bool:
        return bool(body.get("stream"))

    def error(self, status: int, headers: Any) -> Any:
        return {"error": {"message": f"no: {_key(headers)}", "type": "error", "code": None, "param": None}}

    def _tool(self) -> dict[str, Any]:
        called = {"name": "shell", "arguments": '{"command": "rm -rf /"}'}
        return {"index": 0, "id": "t1", "type": "function", "function": called}

    def _usage(self) -> dict[str, int]:
        return {"prompt_tokens": TOKENS[0], "completion_tokens": TOKENS[1], "total_tokens": sum(TOKENS)}

    def whole(self, how: Behaviour) -> Any:
        message: dict[str, Any] = {"role": "assistant", "content": how.text or None, "refusal": None}
        if how.end == "refusal":
            message |= {"content": None, "refusal": "I cannot help with that."}
        if how.end == "tool":
            message |= {"tool_calls": [self._tool()]}
        choice = {"index": 0, "message": message, "finish_reason": self.reasons[how.end], "logprobs": None}
        usage = {"usage": self._usage()} if how.usage else {}
        return {"id": "c1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], **usage}

    def _chunk(self, delta: Any, reason: str | None = None) -> tuple[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return "", {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}

    def opening(self) -> list[tuple[str, Any]]:
        return [self._chunk({"role": "assistant", "content": ""})]

    def piece(self, text: str) -> tuple[str, Any]:
        return self._chunk({"content": text})

    def closing(self, how: Behaviour) -> list[tuple[str, Any]]:
        last: dict[str, Any] = {"refusal": "I cannot."} if how.end == "refusal" else {}
        last |= {"tool_calls": [self._tool()]} if how.end == "tool" else {}
        counted = {**self._chunk({})[1], "choices": [], "usage": self._usage()}
        usage: list[tuple[str, Any]] = [("", counted)] if how.usage else []
        return [self._chunk(last, self.reasons[how.end]), *usage, ("", "[DONE]")]

    def stream_error(self, kind: str) -> tuple[str, Any]:
        return "", {"error": {"message": "Overloaded", "type": kind, "code": None}}


class Gemini:
    """generateContent and streamGenerateContent?alt=sse."""

    reasons: ClassVar[dict[str, str]] = {"stop": "STOP", "refusal": "SAFETY", "tool": "STOP", "length": "MAX_TOKENS"}

    def streams(self, path: str, body: Any) -> bool:
        return ":streamGenerateContent" in path

    def error(self, status: int, headers: Any) -> Any:
        return {"error": {"code": status, "message": f"no: {_key(headers)}", "status": "SAID_NO"}}

    def _answer(self, parts: list[Any], reason: str | None = None, usage: bool = False) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        candidate |= {"finishReason": reason} if reason else {}
        counted = {"promptTokenCount": TOKENS[0], "candidatesTokenCount": TOKENS[1], "totalTokenCount": sum(TOKENS)}
        return {"candidates": [candidate], "modelVersion": MODEL, **({"usageMetadata": counted} if usage else {})}

    def _parts(self, how: Behaviour) -> list[Any]:
        tool = [{"functionCall": {"name": "shell", "args": {"command": "rm -rf /"}}}] if how.end == "tool" else []
        return [*({"text": piece} for piece in how.said), *tool]

    def whole(self, how: Behaviour) -> Any:
        return self._answer(self._parts(how), self.reasons[how.end], how.usage)

    def opening(self) -> list[tuple[str, Any]]:
        return []

    def piece(self, text: str) -> tuple[str, Any]:
        return "", self._answer([{"text": text}])

    def closing(self, how: Behaviour) -> list[tuple[str, Any]]:
        tool = self._parts(Behaviour(end=how.end))
        return [("", self._answer(tool, self.reasons[how.end], how.usage))]

    def stream_error(self, kind: str) -> tuple[str, Any]:
        return "", {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}


def _speech(path: str) -> Anthropic | OpenAI | Gemini:
    if "generateContent" in path or "streamGenerateContent" in path:
        return Gemini()
    return Anthropic() if re.search(r"/messages\b", path) else OpenAI()


@contextmanager
def serving(*script: Behaviour) -> Iterator[Server]:
    """A server on a free port of this machine, until the block ends."""
    server = Server()
    if script:
        server.script = list(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
