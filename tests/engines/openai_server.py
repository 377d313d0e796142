"""A far end for HttpEngine: OpenAI's two streaming calls over any Engine of ours, its list of models, the
log-probabilities of a prompt, and faults on demand.

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
    """`script` (status, headers, body, cut) answers in place of the engine; `asked` keeps the requests. `offered` are
    the names of its models, None: it has no such list; `key`, where set, is wanted; `counts` and `scores` say whether
    it counts tokens and gives log-probabilities; `longest` is the most characters of a prompt."""

    engine: LlamaCppEngine | None = None
    script: tuple[int, dict[str, str], bytes, bool] | None = None
    offered: list[str] | None = None
    key: str | None = None
    counts = True
    scores = True
    longest = 1 << 20

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

    def do_GET(self) -> None:
        if self.server.script:
            self._scripted(*self.server.script)
        elif not self._welcome():
            return
        elif self.server.offered is not None and self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [{"id": name} for name in self.server.offered]})
        else:
            self._json(404, {"error": {"message": "not found"}})

    def _welcome(self) -> bool:
        if self.server.key is None or self.headers.get("Authorization") == f"Bearer {self.server.key}":
            return True
        self._json(401, {"error": {"message": "wrong key"}})
        return False

    def _json(self, status: int, document: dict[str, Any]) -> None:
        self._scripted(
            status, {"Content-Type": "application/json", "Connection": "close"}, json.dumps(document).encode(), False
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, "authorization": self.headers.get("Authorization"), **body})
        if self.server.script:
            self._scripted(*self.server.script)
        elif not self._welcome():
            return
        elif len(str(body.get("prompt"))) > self.server.longest:
            self._json(400, {"error": {"message": "the prompt is too long"}})
        elif body.get("echo"):
            self._json(200, {"choices": [self._scored(str(body["prompt"]))]})
        else:
            self._generate(body)

    def _scored(self, prompt: str) -> dict[str, Any]:
        """The prompt with its tokens' log-probabilities, as the older completions API gives them."""
        import numpy as np

        engine = self.server.engine
        assert engine is not None
        if not self.server.scores:
            return {"text": prompt, "logprobs": None}
        with self.server.lock:
            tokens = engine.tokenize(prompt, bos=True)
            (logits,) = engine.logits([tokens])
            widths = [len(engine.detokenize([token])) for token in tokens]
        rows = np.asarray(logits, dtype=np.float64)
        rows -= np.log(np.exp(rows).sum(-1, keepdims=True))
        scores = [None, *(float(rows[at, token]) for at, token in enumerate(tokens[1:]))]
        places = [sum(widths[:at]) for at in range(len(widths))]
        return {"text": prompt, "logprobs": {"text_offset": places, "token_logprobs": scores}}

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
            if self.server.counts and (body.get("stream_options") or {}).get("include_usage"):
                self._send(json.dumps({"choices": [], "usage": self.usage}))
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
        self.usage = {"prompt_tokens": len(engine.tokenize(prompt, special=True)), "completion_tokens": 0}
        for piece in engine.generate(prompt, sampling):
            self.usage["completion_tokens"] += 1
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
