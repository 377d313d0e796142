"""A server of OpenAI's chat API around LQMF's engine, as LM Studio or llama-server would be: one model, here.

The wire is real, and so is the model; it holds answers to the JSON schema that it is sent.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.engines.promise import Sampling
from lqmf.jobs.tasks.complete import fitted, samplings

MODEL = "demo"


@contextlib.contextmanager
def serving(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address, and the requests as they come in."""
    seen: list[dict[str, Any]] = []
    lock = threading.Lock()  # one engine is used from one thread at a time

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "me"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(asked)
            with lock:
                text, used = _answer(engine, asked)
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            usage = {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)}
            self._send(
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": MODEL,
                    "choices": [choice],
                    "usage": usage,
                }
            )

        def _send(self, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with LlamaCppEngine(path) as engine:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", seen
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _answer(engine: LlamaCppEngine, asked: dict[str, Any]) -> tuple[str, tuple[int, int]]:
    room = min(int(asked.get("max_tokens") or 600), engine.context_length // 3)
    form = asked.get("response_format") or {}
    schema = (form.get("json_schema") or {}).get("schema")
    sampling = next(iter(samplings(schema, room))) if schema else Sampling(max_tokens=room)
    prompt, _ = fitted(engine, asked["messages"], engine.context_length - room)
    pieces = list(engine.generate(prompt, sampling))
    return "".join(piece.text for piece in pieces), (len(prompt), len(pieces))
