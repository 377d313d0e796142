"""GPTQ and nf4 on a CUDA GPU: made and run there, for the demo model and for one of a billion random weights.

    bench/gpu.sh [--size 1] [--limit-gb 8] [--windows 32] [--device gpu/cpu]

Every process keeps within the limit (torch's per-process memory fraction). Each artifact is made on the GPU by a
worker, then run there and on the CPU: tokens written a second, and the most memory that torch held on the GPU against
what the fit foresees for running it. Without a GPU this says so and exits 0; `--device cpu` walks the same way on the
CPU alone.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf import hardware
from lqmf.fit import budget
from lqmf.fit.candidates import Machine, Wish, footprint, shapes
from lqmf.hub import metadata
from lqmf.hub.client import HubClient
from lqmf.jobs.runner import LocalRunner
from lqmf.quantization.registry import backend
from lqmf.records import ModelRef, QuantizationPlan, Task, to_json

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "lqmf" / "assets" / "demo"
CONTEXT, TOKENS = 1024, 64
METHODS = (("gptq", "", {"windows": 32}), ("bnb", "nf4", {}))


@dataclass(frozen=True)
class Row:
    """What one artifact took. Bytes and seconds; None was not measured."""

    model: str
    method: str
    made_seconds: float
    size_bytes: int
    foreseen_gpu: int
    gpu: dict[str, Any] | None
    cpu: dict[str, Any]


def main() -> int:
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(run(*sys.argv[2:])))
        return 0
    options = parse()
    if options.device == "gpu" and (why := no_gpu()):
        print(f"{why} Nothing was run.")
        return 0
    print(machine(options))
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        rows = [
            row
            for name, source in models(options, Path(folder))
            for row in measure(name, source, options, Path(folder))
        ]
    table(rows)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=float, default=1.0, help="billions of random weights")
    parser.add_argument("--limit-gb", type=float, default=8.0, help="of GPU memory for each process")
    parser.add_argument("--windows", type=int, default=32, help="to calibrate GPTQ on")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--work", type=Path, help="where the files go (default: the temporary folder)")
    return parser.parse_args()


def no_gpu() -> str:
    """Why nothing can be run on a GPU; "" where it can."""
    missing = [name for name in ("torch", "gptqmodel", "bitsandbytes") if importlib.util.find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed: `pip install 'lqmf[gptq,bnb]'`."
    import torch

    if torch.cuda.is_available():
        return ""
    seen = hardware.gpus()
    return f"{seen[0].name} is there, but this PyTorch cannot use it." if seen else "There is no CUDA GPU here."


def machine(options: argparse.Namespace) -> str:
    names = ("torch", "transformers", "gptqmodel", "bitsandbytes")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    found = hardware.detect()
    gpu = found.gpus[0].name if found.gpus else "no GPU"
    return f"{found.cpu}, {found.cores} cores; {gpu}, limit {options.limit_gb:g} GB; {versions}"


def models(options: argparse.Namespace, place: Path) -> list[tuple[str, Path]]:
    """The demo, and a Llama of random weights that is made here."""
    from bench.memory_gptq import synthetic

    folder = place / "random"
    folder.mkdir()
    synthetic(options.size, folder)
    return [("demo", DEMO), (f"random {options.size:g}B", folder)]


def measure(name: str, source: Path, options: argparse.Namespace, place: Path) -> list[Row]:
    """Make and run `source` by each method."""
    rows = []
    for method, type_, settings in METHODS:
        out, work = place / f"{name}-{method}", place / f"{name}-{method}-work"
        out.mkdir()
        work.mkdir()
        if "windows" in settings:
            settings = {"windows": options.windows}
        ref = ModelRef("local", name, path=str(source))
        plan = QuantizationPlan(
            "p", ref, None, method, 4, type_, "safetensors", options.device,
            memory_bytes=int(options.limit_gb * (1 << 30)), parameters=settings,
        )  # fmt: skip
        params = {"plan": to_json(plan), "source": str(source), "out": str(out), "work": str(work)}
        began = time.monotonic()
        asyncio.run(LocalRunner().run(Task("bench", "quantize", params, str(work / "job.log")), lambda _event: None))
        made = time.monotonic() - began
        size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
        gpu = apart(out, "gpu", options.limit_gb) if options.device == "gpu" else None
        rows.append(Row(name, method, made, size, foreseen(source, plan), gpu, apart(out, "cpu", options.limit_gb)))
        print(f"  {name} {method}: made in {made:.0f} s", flush=True)
    return rows


def foreseen(source: Path, plan: QuantizationPlan) -> int:
    """GPU memory in bytes that the fit counts with, for all layers there and one chat of CONTEXT tokens."""
    ref = ModelRef("local", source.name, path=str(source))
    info = asyncio.run(metadata.inspect(ref, hub=HubClient()))
    needs = backend(plan.method).needs(info, source, (CONTEXT,), 1)
    weights = needs.weights[plan.type or f"{plan.bits}bit"]
    shape = next(shapes(needs, Wish(context=CONTEXT)))
    there = Machine(1 << 40, 1 << 40, program_gpu=budget.GPU_PROGRAM_BYTES)
    return footprint(needs, weights, shape, needs.layers + 1, there).gpu


def apart(folder: Path, device: str, limit_gb: float) -> dict[str, Any]:
    """`run` in a process of its own."""
    command = [sys.executable, "-m", "bench.gpu", "--run", str(folder), device, str(limit_gb)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(folder: str, device: str, limit_gb: str) -> dict[str, Any]:
    """Tokens a second of the artifact in `folder`, and the most GPU memory that was held, in bytes."""
    import torch

    from lqmf.engines.promise import Sampling
    from lqmf.engines.transformers.engine import TransformersEngine

    on_gpu = device == "gpu"
    if on_gpu:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, float(limit_gb) * (1 << 30) / total), 0)
    with TransformersEngine(Path(folder), context=CONTEXT, device="gpu" if on_gpu else "cpu") as engine:
        prompt = engine.tokenize("A list is a mutable sequence, " * 8)
        list(engine.generate(prompt, Sampling(max_tokens=8)))  # kernels are built on first use
        began = time.monotonic()
        written = sum(piece.token is not None for piece in engine.generate(prompt, Sampling(max_tokens=TOKENS)))
        seconds = time.monotonic() - began
        held = torch.cuda.max_memory_reserved() if on_gpu else 0
    return {"tokens_per_second": written / seconds, "gpu_bytes": held, "reason": engine.reason}


def table(rows: list[Row]) -> None:
    print("\n| model | method | made in | size | GPU memory | foreseen | GPU tokens/s | CPU tokens/s | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        speed, slow = row.gpu and row.gpu["tokens_per_second"], row.cpu["tokens_per_second"]
        cells = (
            row.model,
            row.method,
            f"{row.made_seconds:.0f} s",
            f"{row.size_bytes / 1e6:,.0f} MB",
            f"{row.gpu['gpu_bytes'] / 1e6:,.0f} MB" if row.gpu else "",
            f"{row.foreseen_gpu / 1e6:,.0f} MB",
            f"{speed:.1f}" if speed else "",
            f"{slow:.1f}",
            f"{speed / slow:.1f}" if speed else "",
        )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    raise SystemExit(main())
