"""A far end for HttpEngine: OpenAI's two streaming calls over any Engine of ours, and faults on demand.

Only the far end is ours; the client under test speaks to it through a real socket.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.engines.promise import Sampling


class Server(ThreadingHTTPServer):
    """`script` (status, headers, body, cut) answers in place of the engine; `asked` keeps the requests."""

    engine: LlamaCppEngine | None = None
    script: tuple[int, dict[str, str], bytes, bool] | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, "authorization": self.headers.get("Authorization"), **body})
        if self.server.script:
            self._scripted(*self.server.script)
        else:
            self._generate(body)

    def _scripted(self, status: int, headers: dict[str, str], body: bytes, cut: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + 100 * cut))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _generate(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with self.server.lock:
            for choice in self._choices(body):
                self._send(json.dumps({"choices": [choice]}))
        self._send("[DONE]")
        self.close_connection = True

    def _choices(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        engine = self.server.engine
        assert engine is not None
        chat = self.path.endswith("/chat/completions")
        sampling = Sampling(
            body["max_tokens"], body["temperature"], body["top_p"], 40, body["seed"], tuple(body.get("stop", ()))
        )
        prompt = engine.render(body["messages"]) if chat else body["prompt"]
        for piece in engine.generate(prompt, sampling):
            yield {"delta": {"content": piece.text}} if chat else {"text": piece.text}
        yield {"delta": {}, "finish_reason": "stop"} if chat else {"text": "", "finish_reason": "stop"}

    def _send(self, data: str) -> None:
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()


@contextmanager
def serving(engine: LlamaCppEngine | None = None) -> Iterator[Server]:
    """A server on a free port of this machine, until the block ends."""
    server = Server()
    server.engine = engine
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
