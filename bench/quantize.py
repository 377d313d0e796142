"""Time and peak memory of quantizing through LQMF's worker, as ratios to the same library called directly.

    python bench/quantize.py [--size 0.5] [--type Q4_K_M] [--runs 5]

Directly means: llama.cpp's official converter as a script, then `llama_model_quantize` in a bare Python process. Both
routes read the same files, alternate, and are measured from outside: wall time, and the highest sum of resident
memory over the process tree. The targets are ratios of at most 1.05. `--size 0` measures the bundled demo alone.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import os
import platform
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from lqmf.quantization.gguf import toolchain
from lqmf.records import ModelRef, QuantizationPlan, Task, to_json

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "lqmf" / "assets" / "demo"
TARGET = 1.05
PRE = "gpt-2"  # the demo's pre-tokenizer, which the official converter does not recognize by itself


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu_seconds: float  # of the whole tree: steadier than wall time on a machine that others use
    peak_bytes: int


def main() -> int:
    if sys.argv[1:2] == ["--direct"]:
        return direct(*sys.argv[2:])
    if sys.argv[1:2] == ["--official-converter"]:
        return official_converter(*sys.argv[2:])
    options = parse()
    toolchain.ensure()
    print(machine())
    good = True
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        sources = [("demo", DEMO)]
        if options.size:
            sources.append((f"synthetic {options.size:g}B", synthetic(options.size, Path(folder) / "synthetic")))
        for title, source in sources:
            good &= compare(title, source, options.type, options.runs, Path(folder))
    return 0 if good or not options.gate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=0.5, help="billions of weights of the synthetic Llama; 0: none")
    parser.add_argument("--type", default="Q4_K_M")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--work", type=Path, default=None, help="where the files go (default: the temporary folder)")
    parser.add_argument("--gate", action="store_true", help="exit 1 when a ratio is above the target")
    return parser.parse_args()


def compare(title: str, source: Path, type: str, runs: int, folder: Path) -> bool:
    """Print both routes' medians and their ratios; whether both ratios are within the target."""
    costs: dict[str, list[Cost]] = {"lqmf": [], "direct": []}
    for run in range(-1, runs):  # the first of each warms the caches, and is not counted
        for route in ("lqmf", "direct") if run % 2 else ("direct", "lqmf"):
            cost = once(route, source, type, folder / "run")
            if run >= 0:
                costs[route].append(cost)
    print(f"\n{title} -> {type}, {runs} runs each, alternating")
    medians = {route: summarize(route, found) for route, found in costs.items()}
    seconds = medians["lqmf"].seconds / medians["direct"].seconds
    memory = medians["lqmf"].peak_bytes / medians["direct"].peak_bytes
    cpu = medians["lqmf"].cpu_seconds / medians["direct"].cpu_seconds
    print(f"  ratio   time {seconds:.3f}   CPU {cpu:.3f}   peak memory {memory:.3f}   (target: at most {TARGET})")
    return seconds <= TARGET and memory <= TARGET


def summarize(route: str, costs: Sequence[Cost]) -> Cost:
    seconds, peaks = [c.seconds for c in costs], [c.peak_bytes for c in costs]
    cpu = statistics.median(c.cpu_seconds for c in costs)
    median = Cost(statistics.median(seconds), cpu, int(statistics.median(peaks)))
    spread = f"{min(seconds):.2f}..{max(seconds):.2f}"
    print(f"  {route:7} {median.seconds:8.2f} s ({spread})   CPU {cpu:.2f} s   {median.peak_bytes / 1e6:8.0f} MB")
    return median


def once(route: str, source: Path, type: str, folder: Path) -> Cost:
    """One run in a fresh process and fresh folders."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True)
    command, line = lqmf_route(source, type, folder) if route == "lqmf" else direct_route(source, type, folder)
    cost = measure(command, line)
    made = list((folder / "out").glob("*.gguf"))
    if len(made) != 1:
        raise SystemExit(f"the {route} route failed; see {folder}")
    return cost


def lqmf_route(source: Path, type: str, folder: Path) -> tuple[list[str], str]:
    plan = QuantizationPlan("bench", ModelRef("local", "bench", path=str(source)), None, "gguf", 4, type, "gguf", "cpu")
    places = {"source": str(source), "out": str(folder / "out"), "scratch": str(folder / "scratch")}
    task = Task("bench", "quantize", {"plan": to_json(plan), **places}, str(folder / "job.log"))
    return [sys.executable, "-m", "lqmf.jobs.worker"], json.dumps(to_json(task)) + "\n"


def direct_route(source: Path, type: str, folder: Path) -> tuple[list[str], str]:
    return [sys.executable, __file__, "--direct", str(source), type, str(folder)], ""


def measure(command: Sequence[str], line: str) -> Cost:
    """Run `command`, its standard input held open, and watch it and its children every 10 ms."""
    started, spent, peak = time.perf_counter(), cpu_of_children(), 0
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, text=True
    )
    assert child.stdin is not None
    child.stdin.write(line)
    child.stdin.flush()
    root = psutil.Process(child.pid)
    while child.poll() is None:
        peak = max(peak, resident(root))
        time.sleep(0.01)
    child.stdin.close()
    return Cost(time.perf_counter() - started, cpu_of_children() - spent, peak)


def cpu_of_children() -> float:
    used = os.times()
    return used.children_user + used.children_system


def resident(root: psutil.Process) -> int:
    total = 0
    try:
        for process in (root, *root.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0
    return total


# ---------------------------------------------------------------- the direct route


def direct(source: str, type: str, folder: str) -> int:
    """What a user without LQMF runs: the converter, then the library, in a process that imports nothing else."""
    base, target = f"{folder}/scratch/base.gguf", f"{folder}/out/model.gguf"
    subprocess.run([sys.executable, __file__, "--official-converter", source, base], check=True)
    from llama_cpp import llama_cpp as lib

    parameters = lib.llama_model_quantize_default_params()
    parameters.ftype = getattr(lib, f"LLAMA_FTYPE_MOSTLY_{type}")
    parameters.nthread = os.cpu_count()
    code = lib.llama_model_quantize(base.encode(), target.encode(), ctypes.byref(parameters))
    with Path(target).open("rb") as handle:
        os.fsync(handle.fileno())
    return int(code)


def official_converter(source: str, base: str) -> int:
    """The official script, told the one thing that it cannot know about the demo's tokenizer."""
    root = str(toolchain.ensure().root)
    sys.path[:0] = [root, f"{root}/gguf-py"]
    from conversion import base as conversion

    conversion.TextModel.get_vocab_base_pre = lambda _model, _tokenizer: PRE
    sys.argv = ["convert_hf_to_gguf.py", source, "--outtype", "f16", "--outfile", base]
    runpy.run_path(f"{root}/convert_hf_to_gguf.py", run_name="__main__")
    return 0


# ---------------------------------------------------------------- the model and the machine


def synthetic(billions: float, folder: Path) -> Path:
    """A Llama with random bfloat16 weights and the demo's tokenizer, in shards; made in a process of its own."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, folder)
    width = 2048 if billions >= 0.3 else 1024
    layers = max(1, round((billions * 1e9 - 32000 * width * 2) / (width * width * 11.5)))
    code = f"""
import torch
from transformers import LlamaConfig, LlamaForCausalLM
config = LlamaConfig(vocab_size=32000, hidden_size={width}, intermediate_size={width * 3}, num_hidden_layers={layers},
                     num_attention_heads={width // 64}, num_key_value_heads={width // 256})
torch.manual_seed(0)
LlamaForCausalLM._from_config(config, dtype=torch.bfloat16).save_pretrained({str(folder)!r}, max_shard_size="500MB")
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def machine() -> str:
    packages = ("llama-cpp-python", "torch", "transformers", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.platform()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{memory:.0f} GiB; Python {platform.python_version()}, {versions}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
