"""What it takes to look at a model before it is fetched: a repository of the shape of Mistral 7B on a local hub.

    python bench/preflight.py [rounds]

Its tokenizer is the demo's, filled up to the size of Llama 3's. Prints requests, bytes and the median of seconds for
each step: metadata from the hub (description, configuration, tokenizer, headers of the shards), llama.cpp's arithmetic
on it (the converter's header, then sizes and buffers), the same when it is kept, and solving.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from lqmf.fit.quality import expected_loss
from lqmf.fit.solver import Machine, Wish, solve
from lqmf.hub.client import HubClient
from lqmf.hub.metadata import inspect
from lqmf.hub.skeleton import skeleton
from lqmf.model_files.refs import DEMO_FOLDER
from lqmf.quantization.gguf.backend import GgufBackend
from lqmf.quantization.gguf.converter.toolchain import find
from lqmf.records import Loss, ModelRef
from lqmf.workspace import CACHE_VARIABLE, cache_dir
from tests.hub.models import seven_b
from tests.hub.server import LocalHub

GIB = 1 << 30
TOKENIZER_BYTES = 9_100_000  # as much as Llama 3's takes; the demo's own, and blanks
REF = ModelRef("hub", "ada/seven")


def timed(times: list[float], work: Callable[[], Any]) -> Any:
    """What `work` gives; its seconds are added to `times`."""
    begun = time.perf_counter()
    made = work()
    times.append(time.perf_counter() - begun)
    return made


def loss(_method: str, type: str, k_type: str, v_type: str) -> Loss:
    return expected_loss(type, k_type, v_type)


def round_of(hub: LocalHub, cache: Path, times: dict[str, list[float]]) -> None:
    """Everything once, with nothing kept from before but the converter."""
    os.environ[CACHE_VARIABLE] = str(cache)
    client, backend = HubClient(token_provider=lambda: None, endpoint=hub.url), GgufBackend()
    info = timed(times["describe"], lambda: asyncio.run(inspect(REF, hub=client)))
    root = cache / "skeletons"
    folder = timed(times["headers"], lambda: asyncio.run(skeleton(info, hub=client, root=root)))
    timed(times["arithmetic"], lambda: backend.needs(info, folder, (8192,), 1))
    needs = timed(times["kept"], lambda: backend.needs(info, folder, (8192,), 1))
    machine = Machine(12 * GIB, 15 * GIB // 2, 150 << 20, 512 << 20)
    timed(times["solve"], lambda: solve({"gguf": needs}, machine, Wish(context=8192), loss, lambda *_: None))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    tools = find()
    if tools is None:
        sys.exit("The converter is not here: `lqmf doctor --fix`.")
    files = {name: body for name, body in seven_b().items() if name != "tokenizer.model"}
    files |= {path.name: path.read_bytes() for path in DEMO_FOLDER.glob("*token*")}
    files["tokenizer.json"] = files["tokenizer.json"].ljust(TOKENIZER_BYTES)
    times: dict[str, list[float]] = {name: [] for name in ("describe", "headers", "arithmetic", "kept", "solve")}
    own = cache_dir() / "toolchain"
    with LocalHub() as hub:
        hub.add_repo(REF.id, files)
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "toolchain").symlink_to(own)
                before = len(hub.requests)
                round_of(hub, Path(folder), times)
                asked = hub.requests[before:]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, converter {tools.version}")
    print(f"{len(asked)} requests, {sum(request.sent for request in asked) / 1e6:.1f} MB moved (at most 20)")
    for name, seconds in times.items():
        print(f"{name:<12}{median(seconds):8.3f} s   (of {rounds})")
    print(f"{'metadata':<12}{median(times['describe']) + median(times['headers']):8.3f} s   (at most 3)")


if __name__ == "__main__":
    main()
