"""How long from a provider's first byte of text to that text on the screen, beside a bare HTTP client there.

    .venv/bin/python bench/first_token.py [ANSWERS]

A server in this process speaks each provider's format and notes when it sends the first byte. A child process asks
through `Calls`, with the real SDK, and writes each piece to a pseudo-terminal as the chat does; this process notes when
it appears there. The peer writes what httpx2 hands it, unread. The first answer of a process, SDK import and all, is
shown by itself.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import pty
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.providers.wire import Behaviour, Server, serving

PROVIDERS = ("claude", "openai", "gemini", "local")
LIMIT_MS = 150.0
ANSWERS = 20
MARK = b"#"

CHILD = """
import asyncio, sys
from pathlib import Path
from lqmf.app import App
from lqmf.cli.render import write
from lqmf.providers.base import Message

name, url, answers, root = sys.argv[1:]
variable = "anthropic" if name == "claude" else name
app = App(Path(root), "given", {"llm_provider": name, f"{variable}_base_url": url, f"{variable}_api_key": "k" * 20,
                                "local_model": "m", "llm_daily_calls": 10**6})

async def main():
    for _ in range(int(answers)):
        async for piece in app.llm.stream("bench", [Message("user", "Say something.")]):
            write(sys.stdout, piece)

asyncio.run(main())
"""
PEER = """
import sys, httpx2
paths = {"claude": "/v1/messages", "gemini": "/v1beta/models/m:streamGenerateContent?alt=sse"}
name, url, answers, _ = sys.argv[1:]
client = httpx2.Client()
for _ in range(int(answers)):
    with client.stream("POST", url + paths.get(name, "/chat/completions"), json={"stream": True}) as response:
        for chunk in response.iter_bytes():
            if b"#" in chunk:
                sys.stdout.write("#")
                sys.stdout.flush()
"""


def main() -> None:
    """Measure and print; exit 1 when a median is over the limit."""
    answers = int(sys.argv[1]) if len(sys.argv) > 1 else ANSWERS
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    packages = ("anthropic", "openai", "google-genai", "httpx2")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))
    print(f"milliseconds from a provider's first byte of text to the screen, {answers} answers")
    print(f"{'provider':<10}{'first answer':>14}{'median':>9}{'longest':>9}{'bare client':>13}{'ratio':>7}")
    slow = False
    for name in PROVIDERS:
        ours, bare = measured(CHILD, name, answers), measured(PEER, name, answers)
        median, peer = statistics.median(ours[1:]), statistics.median(bare[1:])
        slow = slow or max(median, ours[0]) > LIMIT_MS
        print(f"{name:<10}{ours[0]:>14.2f}{median:>9.2f}{max(ours[1:]):>9.2f}{peer:>13.2f}{median / peer:>7.1f}")
    print(f"limit: {LIMIT_MS:g} ms, the first answer included: {'broken' if slow else 'kept'}")
    sys.exit(int(slow))


def measured(program: str, name: str, answers: int) -> list[float]:
    """Milliseconds of each answer, in order."""
    pieces = (MARK.decode(), "\n")  # the second, later, ends the answer
    with serving(Behaviour(pieces=pieces, between_s=0.05)) as server, tempfile.TemporaryDirectory() as root:
        screen, terminal = pty.openpty()
        command = [sys.executable, "-c", program, name, server.url(name), str(answers), root]
        child = subprocess.Popen(command, stdout=terminal, stderr=subprocess.PIPE)
        os.close(terminal)
        seen = seen_at(screen, answers)
        errors = child.communicate()[1].decode()
        os.close(screen)
    if child.returncode or len(seen) != answers:
        raise SystemExit(f"{name}: {len(seen)} of {answers} answers were seen. {errors}")
    return [(at - sent) * 1000 for sent, at in zip(sent_at(server), seen, strict=True)]


def sent_at(server: Server) -> list[float]:
    """When each answer's first byte of text was sent."""
    return server.first_bytes


def seen_at(screen: int, answers: int) -> list[float]:
    """When each mark appeared on the pseudo-terminal."""
    seen: list[float] = []
    while len(seen) < answers:
        try:
            shown = os.read(screen, 4096)
        except OSError:  # the child is gone
            break
        seen += [time.perf_counter()] * shown.count(MARK)
    return seen


if __name__ == "__main__":
    main()
