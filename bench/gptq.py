"""Wall time of a GPTQ job against gptqmodel called directly with the same settings, and what both wrote.

    python bench/gptq.py [--model FOLDER] [--windows 32] [--runs 3] [--device cpu/gpu] [--gate]

Both read the same windows of tokens and run in a process of their own, alternating: ours is the worker of a real job,
the peer a bare script that imports gptqmodel, loads, quantizes and saves. Imports count in both. Must: a ratio of the
medians of at most 1.10. The packed weights of both must be the same.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lqmf.engines.transformers.tokenizer import HfTokens
from lqmf.events import Event, StageFinished
from lqmf.jobs.runner import LocalRunner
from lqmf.quantization.gptq import make
from lqmf.quantization.gptq.backend import GptqBackend
from lqmf.records import ModelRef, QuantizationPlan, Task, to_json
from lqmf.texts import calibration

DEMO = Path(__file__).resolve().parents[1] / "lqmf" / "assets" / "demo"
MUST = 1.10
PEER = """
import json, sys
from gptqmodel import GPTQModel, QuantizeConfig
source, out, offload, windows, settings = sys.argv[1:]
settings = json.loads(settings)
batch = settings.pop("batch")
rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in json.load(open(windows))]
model = GPTQModel.load(source, QuantizeConfig(bits=4, offload_to_disk=True, offload_to_disk_path=offload, **settings))
model.quantize(rows, batch_size=batch)
model.save(out)
"""


def main() -> int:
    options = parse()
    packages = ("torch", "transformers", "gptqmodel")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {versions}")
    seconds: dict[str, list[float]] = {"lqmf": [], "peer": []}
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        place = Path(folder)
        windows = calibration.windows(calibration.read(None), HfTokens(options.model), most=options.windows)
        (place / "windows.json").write_text(json.dumps(windows))
        for run in range(options.runs):
            for route in ("lqmf", "peer") if run % 2 else ("peer", "lqmf"):
                seconds[route].append(once(route, options, place))
                print(f"  {route}: {seconds[route][-1]:.1f} s", flush=True)
        same = weights(place / "lqmf") == weights(place / "peer")
    ours, theirs = (statistics.median(found) for found in seconds.values())
    ratio = ours / theirs
    read = f"{len(windows)} windows of {len(windows[0])} tokens"
    print(f"{options.model.name}, {read}, {options.device}, {options.runs} runs each")
    print(f"LQMF {ours:.1f} s, gptqmodel {theirs:.1f} s: ratio {ratio:.3f} (must {MUST}); same packed weights: {same}")
    return 0 if (ratio <= MUST and same) or not options.gate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=DEMO)
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--work", type=Path, help="where the files go (default: the temporary folder)")
    parser.add_argument("--gate", action="store_true", help="exit 1 when the must does not hold")
    return parser.parse_args()


def once(route: str, options: argparse.Namespace, place: Path) -> float:
    """Seconds of one run, from before the process starts until it has ended."""
    out, work = place / route, place / f"{route}-work"
    for folder in (out, work):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    began = time.monotonic()
    if route == "lqmf":
        asyncio.run(ours(options, out, work))
    else:
        theirs(options, out, work, place / "windows.json")
    return time.monotonic() - began


async def ours(options: argparse.Namespace, out: Path, work: Path) -> None:
    ref = ModelRef("local", options.model.name, path=str(options.model))
    plan = QuantizationPlan(
        "p", ref, None, "gptq", 4, "", "safetensors", options.device, parameters={"windows": options.windows}
    )
    params = {"plan": to_json(plan), "source": str(options.model), "out": str(out), "work": str(work)}

    def hear(event: Event) -> None:
        if isinstance(event, StageFinished):
            print(f"    {event.stage} {event.seconds:.1f} s")

    await LocalRunner().run(Task("bench", "quantize", params, str(work / "job.log")), hear)


def theirs(options: argparse.Namespace, out: Path, work: Path, windows: Path) -> None:
    plain = {name: one.default for name, one in GptqBackend.parameters.items() if name != "windows"}
    settings = {**plain, "batch": make.BATCH, "device": "cuda:0" if options.device == "gpu" else "cpu"}
    workers = str(max(2, ((os.cpu_count() or 1) + 1) // 2))
    arguments = [str(options.model), str(out), str(work), str(windows), json.dumps(settings)]
    with (work / "peer.log").open("wb") as log:
        environment = {**os.environ, "GPTQMODEL_CPU_WORKERS": workers}
        command = [sys.executable, "-c", PEER, *arguments]
        subprocess.run(command, check=True, stdout=log, stderr=log, env=environment)


def weights(folder: Path) -> dict[str, bytes]:
    """The packed words of every layer, by name."""
    from safetensors import safe_open

    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "np") as file:
            found |= {name: file.get_tensor(name).tobytes() for name in file.keys() if name.endswith("qweight")}  # noqa: SIM118
    return found


if __name__ == "__main__":
    raise SystemExit(main())
