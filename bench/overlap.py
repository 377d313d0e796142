"""Download and quantization at once against the longer of the two alone, from a local hub of limited rate.

    python bench/overlap.py [--size 0.5] [--rate 60] [--runs 3]

The model is a Llama of that many billion random bfloat16 weights in four shards, made here. Three things are timed,
each by `lqmf` in a process of its own with everything that a user waits for: fetching alone, quantizing what is here
already, and both together. The must is a ratio of at most 1.15. `--rate` is in MB/s for each of two connections.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stream import machine, synthetic  # noqa: E402  (the bench beside this one)

from tests.commands import command, environment  # noqa: E402
from tests.hub.server import LocalHub  # noqa: E402

MUST, CONNECTIONS = 1.15, 2
QUANTIZE = ("quantize", "bench/model", "--type", "Q4_K_M", "--no-imatrix", "--test", "none", "--yes")
FETCH = f"""
import asyncio, sys
from pathlib import Path
from lqmf.hub import download, metadata
from lqmf.hub.client import HubClient
from lqmf.records import ModelRef
async def main():
    hub = HubClient()
    info = await metadata.inspect(ModelRef("hub", "bench/model"), hub=hub)
    options = download.TransferOptions(connections={CONNECTIONS})
    await download.fetch(info, Path(sys.argv[1]), hub=hub, emit=lambda event: None, options=options)
asyncio.run(main())
"""


def main() -> int:
    options = parse()
    print(machine())
    with tempfile.TemporaryDirectory(dir=options.work) as folder, LocalHub() as hub:
        work = Path(folder)
        hub.add_repo("bench/model", synthetic(options.size, work / "synthetic"))
        hub.fail("*.safetensors", "slow", times=1_000_000, bytes_per_second=int(options.rate * 1e6))
        rows = [once(work / str(run), hub) for run in range(options.runs)]
    fetch, quantize, both = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = both / max(fetch, quantize)
    print(f"{options.size:g} billion weights, {CONNECTIONS} connections of {options.rate:g} MB/s, {options.runs} runs")
    print(f"  fetching alone {fetch:.1f} s   quantizing alone {quantize:.1f} s   both at once {both:.1f} s")
    print(f"  ratio to the longer {ratio:.3f} (must: at most {MUST}), to their sum {both / (fetch + quantize):.3f}")
    return 0 if ratio <= MUST or not options.gate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=0.5, help="billions of weights")
    parser.add_argument("--rate", type=float, default=30.0, help="MB/s for each connection")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", type=Path, default=None, help="where the files go (default: the temporary folder)")
    parser.add_argument("--gate", action="store_true", help="exit 1 when the must does not hold")
    return parser.parse_args()


def once(folder: Path, hub: LocalHub) -> tuple[float, float, float]:
    """Seconds of fetching alone, quantizing alone, and both."""
    env = {"HF_ENDPOINT": hub.url, "LQMF_CACHE_DIR": os.environ.get("LQMF_CACHE_DIR", "")}
    env = {name: value for name, value in env.items() if value}
    fetched, fresh = folder / "fetched", folder / "fresh"
    fetch = timed([sys.executable, "-c", FETCH, str(fetched / "models")], fetched, env)
    quantize = timed(command(fetched, *QUANTIZE), fetched, env)
    return fetch, quantize, timed(command(fresh, *QUANTIZE), fresh, env)


def timed(line: list[str], root: Path, env: dict[str, str]) -> float:
    root.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    subprocess.run(line, check=True, env=environment(root, **env), stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.monotonic() - started


if __name__ == "__main__":
    raise SystemExit(main())
